/* Draws what a view of a timeline shows, as SVG text. Only what is in view is drawn, and what is
   too small to be seen apart is drawn together; `hits` tells what was drawn where. */

const escapeText = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const round = (value) => Math.round(value * 10) / 10;

/* ---- the data ------------------------------------------------------------------------------ */

function running(deltas) {
  let sum = 0;
  return deltas.map((delta) => (sum += delta));
}

/* The latest end so far: it never falls, so a binary search finds the first that is in view. */
function reach(begins, lengths) {
  let latest = 0;
  return begins.map((begin, i) => (latest = Math.max(latest, begin + lengths[i])));
}

/* From here on every time is a place on the axis; what is said of it is turned back. */
function decode(data) {
  data.axis = new Axis(data.breaks);
  for (const group of [...data.spans, ...data.points]) group.at = running(group.at);
  for (const group of data.spans) onAxis(data.axis, group.at, group.length);
  for (const group of data.points) onAxis(data.axis, group.at);
  for (const group of data.points) group.reach = group.at;
  for (const group of data.spans) group.reach = reach(group.at, group.length);
  const arrows = data.arrows;
  arrows.sent = running(arrows.sent);
  onAxis(data.axis, arrows.sent, arrows.delay);
  arrows.reach = reach(arrows.sent, arrows.delay);
  for (const item of [...data.bands, ...data.phases])
    [item.begin, item.end] = [data.axis.place(item.begin), data.axis.place(item.end)];
  if (data.failure) data.failure.at = data.axis.place(data.failure.at);
  data.end = data.axis.place(data.end);
  return data;
}

function onAxis(axis, begins, lengths = []) {
  begins.forEach((begin, i) => {
    const end = axis.place(begin + (lengths[i] ?? 0));
    begins[i] = axis.place(begin);
    if (i < lengths.length) lengths[i] = end - begins[i];
  });
}

function firstAtLeast(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* [first, end) of those that may be seen between two times. */
const inView = (begins, reaches, view) =>
  [firstAtLeast(reaches, view.from), firstAtLeast(begins, view.to + 1)];

/* ---- words --------------------------------------------------------------------------------- */

const fill = (template, form, details) =>
  template.replace(/\{(form|\d+)\}/g, (_, place) =>
    place === "form" ? form : details[Number(place)] ?? "");

/* What may be written on a bar, from the longest to the shortest; none with a hole in it. */
const labels = ({ labels: templates }, form, details) => templates
  .filter((template) => [...template.matchAll(/\{(\d+)\}/g)]
    .every(([, place]) => (details[Number(place)] ?? "") !== ""))
  .map((template) => fill(template, form, details));

const BOLD = 1.1;
const BOLD_ON = new Set(["leader", "candidate", "down", "paused", ""]);

function textWidth(text, size = 11) {
  let width = 0;
  for (const c of text) {
    const code = c.codePointAt(0);
    width += code > 0x2e7f ? 1.05 : code > 0x7f ? 0.66 : "iljtf.,:;'|!()[] ".includes(c) ? 0.36
      : "mwMW—".includes(c) ? 0.92 : c >= "A" && c <= "Z" ? 0.7 : 0.6;
  }
  return width * size;
}

function cut(text, width, size = 11) {
  if (textWidth(text, size) <= width) return text;
  let shown = Array.from(text);
  while (shown.length && textWidth(shown.join("") + "…", size) > width) shown.pop();
  return shown.length > 2 ? shown.join("") + "…" : "";
}

/* ---- where lanes lie ----------------------------------------------------------------------- */

function arrange(data, shown) {
  const { lanes: sizes } = data.geometry;
  const struck = new Set(data.bands.flatMap((band) => band.nodes));
  const arranged = [];
  let y = 0, before = "";
  data.lanes.forEach((lane, index) => {
    if (!laneShown(lane, shown)) return;
    const size = sizes[lane.kind];
    const rows = lane.kind === "node" && !shown.steps ? 0 : lane.rows;
    const gutter = lane.kind === "node" && shown.faults && struck.has(lane.number)
      ? size.gutter : 0;
    y += lane.kind === before ? size.gap : size.first;
    const height = size.pad + gutter + size.bar + size.strip + rows * size.row + size.pad;
    arranged.push({
      ...lane, index, y, height, gutter, rows, heading: lane.kind !== before,
      barY: y + size.pad + gutter, barHeight: size.bar,
      stripY: y + size.pad + gutter + size.bar, stripHeight: size.strip,
      rowsY: y + size.pad + gutter + size.bar + size.strip, rowHeight: size.row,
    });
    y += height;
    before = lane.kind;
  });
  const byIndex = new Map(arranged.map((lane) => [lane.index, lane]));
  const byNode = new Map(
    arranged.filter((lane) => lane.kind === "node").map((lane) => [lane.number, lane]));
  return { lanes: arranged, byIndex, byNode, height: y + 24 };
}

function laneShown(lane, shown) {
  switch (lane.kind) {
    case "faults": return shown.faults;
    case "node": return shown.nodes.has(lane.number);
    case "run": return shown.runs;
    default: return shown.clients;
  }
}

/* Marks that hang below the bar of their lane. */
const MARK_BELOW = new Set(["effect", "started", "advanced"]);

/* ---- the lanes ----------------------------------------------------------------------------- */

class Drawing {
  constructor(data, view, shown) {
    this.data = data;
    this.view = view;
    this.shown = shown;
    this.plan = arrange(data, shown);
    this.left = data.geometry.names;
    this.scale = (view.width - this.left - data.geometry.margin) / (view.to - view.from);
    this.right = view.width;
    this.hits = [];
    this.out = [];
    this.notes = [];
    this.counts = {};
    this.gaps = this.seenBreaks();
  }

  x(ns) { return this.left + (ns - this.view.from) * this.scale; }

  clampX(ns) { return Math.min(Math.max(this.x(ns), this.left - 4), this.right + 4); }

  add(text) { this.out.push(text); }

  count(what, number = 1) { this.counts[what] = (this.counts[what] ?? 0) + number; }

  onScreen(lane) {
    return lane && lane.y + lane.height > this.view.top - 60 && lane.y < this.view.bottom + 60;
  }

  hit(x0, y0, x1, y1, ref) { this.hits.push({ x0, y0, x1, y1, ref }); }

  draw() {
    this.add(`<g clip-path="url(#plot)">`);
    this.grid();
    this.bandGround();
    if (this.shown.messages) this.messages();
    this.bodies();
    this.bandsInLanes();
    this.failure();
    for (const group of this.data.spans) this.spans(group);
    for (const group of this.data.points) this.points(group);
    this.breaks();
    this.add("</g>");
    this.names();
    return this.out.join("");
  }

  /* ---- breaks of the axis: nothing is seen between their edges ---- */

  seenBreaks() {
    const seen = [];
    this.data.axis.breaks.forEach(({ from, to, begin, end }, index) => {
      const inset = (this.x(to) - this.x(from)) * 0.22;
      const x0 = Math.max(this.x(from) + inset, this.left - 20);
      const x1 = Math.min(this.x(to) - inset, this.right + 20);
      if (x0 < x1) seen.push({ x0, x1, index, text: lasting(end - begin, 3) });
    });
    return seen;
  }

  breaks() {
    const { height } = this.plan;
    for (const { x0, x1, index } of this.gaps) {
      const sides = [x0, x1].map((x) => zigzag(x, height));
      this.add(`<path class="break" d="M${sides[0].join("L")}L${sides[1].reverse().join("L")}z"/>` +
        sides.map((side) => `<path class="break-edge" d="M${side.join("L")}"/>`).join(""));
      this.hit(x0, 0, x1, height, { type: "break", index });
      this.count("break");
    }
  }

  /* Where something can be written between two places. */
  *rooms(begin, end) {
    for (const { x0, x1 } of this.gaps) {
      if (x1 <= begin || x0 >= end) continue;
      yield [begin, x0];
      begin = x1 + 6;
    }
    yield [begin, Math.min(end, this.right)];
  }

  roomAfter(x) { return this.rooms(x, this.right).next().value[1] - x; }

  grid() {
    const { from, to } = this.view;
    const step = rulerStep(to - from, this.right - this.left);
    let path = "";
    for (const [place] of this.data.axis.ticks(from, to, step))
      path += `M${round(this.x(place))} 0V${this.plan.height}`;
    this.add(`<path class="grid" d="${path}"/>`);
  }

  bodies() {
    for (const lane of this.plan.lanes) {
      if (!this.onScreen(lane) || lane.kind === "faults" || lane.kind === "run") continue;
      const x0 = this.clampX(0), x1 = this.clampX(this.data.end);
      this.add(`<rect class="body" x="${round(x0)}" y="${lane.y}" width="${round(x1 - x0)}" ` +
        `height="${lane.height}" rx="5"/>`);
      this.count("lane");
    }
  }

  /* ---- faults ---- */

  eachBand(act) {
    if (!this.shown.faults) return;
    this.data.bands.forEach((band, index) => {
      if (band.end < this.view.from || band.begin > this.view.to) return;
      const x0 = this.clampX(band.begin);
      act(band, index, x0, Math.max(this.clampX(band.end), x0 + 2));
    });
  }

  /* Between lanes that a fault concerns together its shade goes through. */
  bandGround() {
    this.eachBand((band, _, x0, x1) => {
      const lanes = this.plan.lanes.filter((lane) => lane.kind === "node");
      lanes.forEach((lane, i) => {
        const next = lanes[i + 1];
        if (!next || !band.nodes.includes(lane.number) || !band.nodes.includes(next.number)) return;
        const y = lane.y + lane.height;
        this.add(`<rect class="band ${band.family}" x="${round(x0)}" y="${y}" ` +
          `width="${round(x1 - x0)}" height="${next.y - y}"/>`);
      });
    });
  }

  bandsInLanes() {
    const taken = new Map();
    this.eachBand((band, index, x0, x1) => {
      for (const node of band.nodes) {
        const lane = this.plan.byNode.get(node);
        if (!this.onScreen(lane)) continue;
        const [x, y, w, h] = [round(x0), lane.y, round(x1 - x0), lane.height];
        this.add(`<g class="${band.family}"><rect class="band" x="${x}" y="${y}" width="${w}" ` +
          `height="${h}"/><path class="band-edge" d="M${x} ${y}v${h}M${round(x1)} ${y}v${h}"/>`);
        const from = Math.max(x0, taken.get(node) ?? this.left) + 5;
        const label = cut(band.kind, Math.min(x1 - from, this.roomAfter(from)) - 3, 10 * BOLD);
        if (label === band.kind) {
          this.add(`<text class="band-name" x="${round(from)}" y="${y + 4 + lane.gutter / 2}">` +
            `${escapeText(label)}</text>`);
          taken.set(node, from + textWidth(label, 10 * BOLD) + 4);
        }
        this.add("</g>");
        this.hit(x0, y, x1, y + 4 + lane.gutter, { type: "band", index });
        this.count("band");
      }
      this.faultBar(band, index, x0, x1, this.nextInRow(index));
    });
  }

  nextInRow(index) {
    const { bands } = this.data;
    const next = bands.find((other, i) => i > index && other.row === bands[index].row);
    return next ? this.x(next.begin) : this.right;
  }

  /* The name of what takes but a moment stands beside it. */
  faultBar(band, index, x0, x1, next) {
    const lane = this.plan.lanes[0];
    if (!lane || lane.kind !== "faults" || !this.onScreen(lane)) return;
    const y = lane.rowsY + band.row * lane.rowHeight + 1, height = lane.rowHeight - 3;
    this.add(`<g class="${band.family}"><rect class="fault" x="${round(x0)}" y="${y}" ` +
      `width="${round(x1 - x0)}" height="${height}" rx="3"/>`);
    const inside = Math.max(x0, this.left) + 6, fits = (room) =>
      [band.source, band.kind].find((text) => textWidth(text) * BOLD <= room);
    const within = fits(Math.min(x1 - inside, this.roomAfter(inside)) - 4);
    const beside = fits(Math.min(next - x1, this.roomAfter(x1)) - 8);
    if (within) this.label(inside, y + height / 2, within, "on-fault");
    else if (beside && x1 > this.left) this.label(x1 + 4, y + height / 2, beside, "on-fault");
    this.add("</g>");
    this.hit(x0, y, x1, y + height, { type: "band", index });
  }

  label(x, y, text, kind) {
    this.add(`<text class="${kind}" x="${round(x)}" y="${round(y)}">${escapeText(text)}</text>`);
  }

  /* ---- messages ---- */

  messages() {
    const { arrows } = this.data;
    const [first, end] = inView(arrows.sent, arrows.reach, this.view);
    const visible = [], kinds = new Map();
    for (let i = first; i < end; i += 1) {
      if (arrows.sent[i] + arrows.delay[i] < this.view.from) continue;
      if (!this.plan.byNode.has(arrows.sender[i]) || !this.plan.byNode.has(arrows.receiver[i]))
        continue;
      visible.push(i);
      kinds.set(arrows.what[i], (kinds.get(arrows.what[i]) ?? 0) + 1);
    }
    const crowded = this.crowded(kinds, visible.length);
    const dense = visible.filter((i) => crowded.has(arrows.what[i]));
    const apart = crowded.size ? visible.filter((i) => !crowded.has(arrows.what[i])) : visible;
    if (dense.length) {
      this.density(dense);
      const names = [...crowded].map((what) => this.data.texts[what]).join(", ");
      this.notes.push(`${dense.length.toLocaleString("en")} messages in view are shown as ` +
        `density (${names}): zoom in to see arrows`);
    }
    this.arrows(apart);
    this.count("message", visible.length);
  }

  /* When there is too much to tell apart, what is rare is still drawn: elections, say. */
  crowded(kinds, total) {
    const { arrows: most, rare } = this.data.geometry;
    const crowded = new Set();
    if (total <= most) return crowded;
    let drawn = 0;
    for (const [what, number] of [...kinds].sort((a, b) => a[1] - b[1] || a[0] - b[0])) {
      drawn += number;
      if (drawn > rare) crowded.add(what);
    }
    return crowded;
  }

  density(indices) {
    const { arrows } = this.data, bin = 3;
    const columns = Math.ceil(this.right / bin) + 1;
    const sent = new Map(), lost = new Map();
    for (const lane of this.plan.byNode.keys()) {
      sent.set(lane, new Uint32Array(columns));
      lost.set(lane, new Uint32Array(columns));
    }
    let most = 1;
    for (const i of indices) {
      const column = Math.floor(this.x(arrows.sent[i]) / bin);
      if (column < 0 || column >= columns) continue;
      most = Math.max(most, (sent.get(arrows.sender[i])[column] += 1));
      if (this.data.fates[arrows.fate[i]] === "lost") lost.get(arrows.sender[i])[column] += 1;
    }
    for (const [node, lane] of this.plan.byNode)
      if (this.onScreen(lane)) this.histogram(lane, sent.get(node), lost.get(node), most, bin);
  }

  /* Hangs below a lane: how much it sent, and how much of that was lost. */
  histogram(lane, sent, lost, most, bin) {
    const y = lane.y + lane.height + 1;
    const height = (value) => round(3 + 19 * Math.sqrt(value / most));
    const bar = (column, value) =>
      `M${column * bin} ${y}h${bin - 0.6}v${height(value)}h${0.6 - bin}z`;
    let all = "", gone = "";
    sent.forEach((value, column) => {
      if (!value) return;
      all += bar(column, value);
      if (lost[column]) gone += bar(column, lost[column]);
      this.hit(column * bin, y, (column + 1) * bin, y + height(value),
        { type: "density", index: lane.number, column, sent: value, lost: lost[column] });
      this.count("density");
    });
    this.add(`<path class="density" d="${all}"/><path class="density lost" d="${gone}"/>`);
  }

  /* From edge to edge: what is between two lanes passes behind them. */
  arrowEnds(i) {
    const { arrows } = this.data;
    const from = this.plan.byNode.get(arrows.sender[i]), to = this.plan.byNode.get(arrows.receiver[i]);
    const down = from.y < to.y;
    return [
      this.x(arrows.sent[i]), down ? from.y + from.height : from.y,
      this.x(arrows.sent[i] + arrows.delay[i]), down ? to.y : to.y + to.height,
    ];
  }

  arrows(indices) {
    const { arrows, fates, texts } = this.data;
    const paths = new Map(), heads = new Map();
    const many = indices.length > 220 ? " many" : "";
    let crosses = "";
    for (const i of indices) {
      const [x0, y0, x1, y1] = this.arrowEnds(i);
      const fate = fates[arrows.fate[i]], lost = fate === "lost";
      const vote = /vote/i.test(texts[arrows.what[i]]) ? " vote" : "";
      const short = lost ? Math.min(0.6, this.data.geometry.lost / Math.abs(y1 - y0)) : 1;
      const [xe, ye] = [x0 + (x1 - x0) * short, y0 + (y1 - y0) * short];
      const look = lost ? " lost" : fate === "again" ? " again"
        : fate === "under way" ? " way" : vote || many;
      const line = `M${round(x0)} ${y0}L${round(xe)} ${round(ye)}`;
      paths.set(look, (paths.get(look) ?? "") + line);
      if (lost) crosses += `M${round(xe - 3)} ${round(ye - 3)}l6 6m0 -6l-6 6`;
      else if (fate !== "under way")
        heads.set(vote, (heads.get(vote) ?? "") + arrowHead(x0, y0, x1, y1));
      this.hit(x0, y0, xe, ye, { type: "arrow", index: i });
    }
    for (const [look, path] of paths) this.add(`<path class="message${look}" d="${path}"/>`);
    for (const [look, path] of heads) this.add(`<path class="head${look}" d="${path}"/>`);
    this.add(`<path class="cross" d="${crosses}"/>`);
    this.count("arrow", indices.length);
  }

  /* ---- spans ---- */

  spans(group) {
    const lane = this.plan.byIndex.get(group.lane);
    if (!this.onScreen(lane) || (group.kind === "step" && !this.shown.steps)) return;
    const [first, end] = inView(group.at, group.reach, this.view);
    const inRow = group.kind === "step" || group.kind === "operation";
    const y = inRow ? lane.rowsY + group.row * lane.rowHeight + 1 : lane.barY;
    const height = inRow ? lane.rowHeight - 3 : lane.barHeight;
    let last = -9, written = -9;
    for (let i = first; i < end; i += 1) {
      if (group.at[i] + group.length[i] < this.view.from) continue;
      const x0 = this.clampX(group.at[i]);
      const x1 = Math.max(this.clampX(group.at[i] + group.length[i]), x0 + 1.5);
      if (x1 - last < 1) continue;
      last = x1;
      written = Math.max(written, this.span(group, i, x0, x1, y, height, written));
      if (inRow) written = Math.max(written, this.beside(group, i, x1, y + height / 2, written));
    }
  }

  /* Returns where its label ends. A row that had to be shared has no label on a label. */
  span(group, i, x0, x1, y, height, written) {
    const form = this.data.texts[group.form[i]], style = form.split(" ")[0];
    const [x, w] = [round(x0), round(x1 - x0)];
    this.add(`<g class="c${group.node[i]}"><rect class="${group.kind} ${style}" x="${x}" ` +
      `y="${y}" width="${w}" height="${height}" rx="${Math.min(3, w / 3)}"/>`);
    if (group.kind === "step") this.stepMarks(style, x0, x1, y, height);
    let from = Math.max(x0, this.left) + (group.kind === "owner" ? 11 : 6), to = x1, text;
    if (group.kind === "role") [from, to] = this.clearOfAbsences(group.lane, from, x1);
    const marked = group.kind === "step" && style !== "completed" ? 11 : 3;
    const bold = BOLD_ON.has(style) ? BOLD : 1, rooms = [...this.rooms(from, to)];
    for (const label of labels(this.data.wording[group.kind], form, group.details[i])) {
      const room = rooms.find(([begin, end]) => textWidth(label) * bold <= end - begin - marked);
      if (!room) continue;
      [from, text] = [room[0], label];
      break;
    }
    const clear = text && from > written;
    if (clear) this.label(from, y + height / 2 + 0.5, text, this.inkOn(group.kind, style));
    this.add("</g>");
    this.hit(x0, y, x1, y + height, { type: "span", group, index: i });
    this.count(group.kind);
    return clear ? from + textWidth(text) : written;
  }

  /* What is too short for its name has it behind, if there is room before the next one. */
  beside(group, i, x1, y, written) {
    const next = i + 1 < group.at.length ? this.x(group.at[i + 1]) : Infinity;
    const from = x1 + 4, form = this.data.texts[group.form[i]];
    const shortest = labels(this.data.wording[group.kind], form, group.details[i]).pop();
    if (!shortest || written > this.clampX(group.at[i]) || x1 < this.left) return written;
    const end = from + textWidth(shortest);
    if (end > Math.min(next - 4, from + this.roomAfter(from))) return written;
    this.label(from, y + 0.5, shortest, "beside");
    return end;
  }

  /* The first room on a bar of roles that no pause covers. */
  clearOfAbsences(lane, from, to) {
    for (const group of this.data.spans) {
      if (group.lane !== lane || group.kind !== "absence") continue;
      for (let i = 0; i < group.at.length; i += 1) {
        const x0 = this.x(group.at[i]), x1 = this.x(group.at[i] + group.length[i]);
        if (x1 < from || x0 > to) continue;
        if (x0 - from > 24) return [from, x0];
        from = x1 + 6;
      }
    }
    return [from, to];
  }

  inkOn(kind, style) {
    if (kind === "role") return `on-${style}`;
    return kind === "absence" || kind === "owner" ? `on-${kind}` : "on-bar";
  }

  stepMarks(style, x0, x1, y, height) {
    const edge = round(Math.min(2.5, (x1 - x0) / 3));
    this.add(`<rect class="step-edge" x="${round(x0)}" y="${y}" width="${edge}" ` +
      `height="${height}"/>`);
    if (x1 - x0 < 12) return;
    const x = round(x1 - 8), middle = y + height / 2;
    if (style === "failed")
      this.add(`<path class="bad" d="M${x - 2} ${middle - 3}l6 6m0 -6l-6 6"/>`);
    if (style === "cut")
      this.add(`<path class="bad" d="M${x + 3} ${y - 1}l-4 ${height / 3}l6 ${height / 3}l-4 ` +
        `${height / 3 + 2}"/>`);
  }

  /* ---- points ---- */

  points(group) {
    const lane = this.plan.byIndex.get(group.lane);
    if (!this.onScreen(lane)) return;
    const comb = group.kind === "committed" || group.kind === "appended";
    if (comb && !this.shown.commits) return;
    if (group.kind === "effect" && !this.shown.steps) return;
    const [first, end] = inView(group.at, group.reach, this.view);
    if (comb) this.comb(group, lane, first, end);
    else this.marks(group, lane, first, end);
  }

  /* Ticks that grow where several fall on one pixel. */
  comb(group, lane, first, end) {
    const applied = group.kind === "committed";
    let path = "", i = first;
    while (i < end) {
      const x = round(this.x(group.at[i]));
      let next = i + 1;
      while (next < end && this.x(group.at[next]) - x < 1.6) next += 1;
      const height = Math.min(applied ? 10 : 5, (applied ? 5 : 3) + Math.log2(next - i) * 1.5);
      path += `M${x} ${lane.stripY + 1}v${round(height)}`;
      this.hit(x - 1, lane.stripY, x + 1, lane.stripY + height + 1,
        { type: "point", group, index: i, more: next - i - 1 });
      i = next;
      this.count(group.kind);
    }
    this.add(`<g class="c${lane.number}"><path class="${applied ? "applied" : "durable"}" ` +
      `d="${path}"/></g>`);
  }

  marks(group, lane, first, end) {
    const apart = group.kind === "advanced" ? 4 : 6;
    for (let i = first; i < end;) {
      const x = this.x(group.at[i]);
      let next = i + 1;
      while (next < end && this.x(group.at[next]) - x < apart) next += 1;
      this.mark(group, i, x, lane);
      const y = MARK_BELOW.has(group.kind) ? lane.stripY + lane.stripHeight / 2
        : lane.barY + lane.barHeight / 2;
      const reach = group.kind === "advanced" ? 3 : 6;
      this.hit(x - reach, y - reach, x + reach, y + reach,
        { type: "point", group, index: i, more: next - i - 1 });
      this.count(group.kind);
      i = next;
    }
  }

  mark(group, i, x, lane) {
    const colour = `c${group.node[i]}`, at = round(x);
    const y = lane.barY, h = lane.barHeight, middle = y + h / 2;
    switch (group.kind) {
      case "effect": {
        const strip = lane.stripY + lane.stripHeight / 2;
        this.add(`<path class="effect" d="M${at} ${strip - 6}l6 6l-6 6l-6 -6z"/>`);
        return;
      }
      case "started":
        this.add(`<path class="started ${colour}" d="M${at} ${lane.stripY + 2}l8 4.5l-8 4.5z"/>`);
        return;
      case "advanced":
        this.add(`<circle class="advanced ${colour}" cx="${at}" cy="${y + h + 4}" r="2"/>`);
        return;
      case "moved":
        this.add(`<path class="moved ${colour}" d="M${at} ${y - 3}l6 ${h / 2 + 3}l-6 ${h / 2 + 3}` +
          `l-6 ${-h / 2 - 3}z"/>`);
        return;
      case "opened":
        this.add(`<circle class="opened ${colour}" cx="${at}" cy="${middle}" r="4.5"/>`);
        return;
      case "closed":
        this.closed(this.data.texts[group.form[i]], at, middle);
    }
  }

  closed(status, x, y) {
    const good = status === "completed";
    this.add(`<circle class="closed" cx="${x}" cy="${y}" r="6.5"/>` +
      (good ? `<path class="closed-mark" d="M${x - 3} ${y}l2.2 2.4l4 -4.6"/>`
        : `<path class="bad" d="M${x - 2.5} ${y - 2.5}l5 5m0 -5l-5 5"/>`));
    const name = status.replace("_", " ");
    if (textWidth(name) <= this.roomAfter(x) - 14)
      this.label(x + 11, y + 0.5, name, "closed-name");
  }

  /* ---- the end, and the names ---- */

  failure() {
    if (!this.data.failure) return;
    const x = round(this.x(this.data.failure.at));
    this.add(`<path class="failure-line" d="M${x} 0V${this.plan.height}"/>`);
    this.count("failure");
  }

  names() {
    const { height, lanes } = this.plan;
    this.add(`<rect class="names" x="0" y="0" width="${this.left - 8}" height="${height}"/>` +
      `<path class="names-edge" d="M${this.left - 8} 0V${height}"/>`);
    const headings = { node: "NODES", run: "RUNS", client: "CLIENTS" };
    for (const lane of lanes) {
      if (!this.onScreen(lane)) continue;
      if (lane.heading && headings[lane.kind])
        this.label(18, lane.y - 11, headings[lane.kind], "heading");
      const middle = lane.kind === "node" ? lane.barY + lane.barHeight / 2
        : lane.y + Math.min(lane.height / 2, 13);
      const node = lane.kind === "node";
      if (node)
        this.add(`<rect class="swatch c${lane.number}" x="18" y="${middle - 5}" width="10" ` +
          `height="10" rx="3"/>`);
      const x = node ? 35 : 18, room = this.left - 16 - x;
      const title = lane.kind === "faults" ? "Faults" : cut(lane.title, room * 0.66, 12.5);
      this.label(x, middle, title, "title");
      const used = textWidth(title, 13.4) + 6;
      if (lane.subtitle)
        this.label(x + used, middle, cut(lane.subtitle, room - used, 10.5), "subtitle");
    }
  }
}

/* The corners of an edge of torn paper, from top to bottom. */
function zigzag(x, height) {
  const corners = [];
  for (let y = 0; y < height + 6; y += 6)
    corners.push(`${round(x + (corners.length % 2 ? 2.5 : -2.5))} ${Math.min(y, height)}`);
  return corners;
}

function arrowHead(x0, y0, x1, y1) {
  const length = Math.hypot(x1 - x0, y1 - y0) || 1;
  const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
  const [bx, by] = [x1 - ux * 6, y1 - uy * 6];
  return `M${round(x1)} ${round(y1)}L${round(bx - uy * 2.4)} ${round(by + ux * 2.4)}` +
    `L${round(bx + uy * 2.4)} ${round(by - ux * 2.4)}z`;
}
