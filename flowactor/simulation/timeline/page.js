/* The page: what is shown, how it moves, and what is said about the thing under the pointer. */

const data = decode(JSON.parse(document.getElementById("data").textContent));
const element = (id) => document.getElementById(id);
const LEFT = data.geometry.names;
const SHORTEST_NS = 1000;
const KINDS = [
  ["messages", `<path d="M1 2L18 12" class="message vote"/><path d="M19.5 13l-6 -1l3 -4z" class="head vote"/>`],
  ["commits", `<g class="c3"><path class="applied" d="M4 2v10M8 2v10M12 2v10M16 2v10"/></g>`],
  ["steps", `<g class="c2"><rect class="step" x="1" y="2" width="18" height="10" rx="2"/><rect class="step-edge" x="1" y="2" width="2.5" height="10"/></g><path class="effect" d="M12 1l6 6l-6 6l-6 -6z"/>`],
  ["faults", `<g class="network"><rect class="fault" x="1" y="2" width="18" height="10" rx="2"/></g>`],
  ["runs", `<g class="c1"><rect class="owner" x="1" y="3" width="9" height="8" rx="2"/></g><g class="c3"><rect class="owner" x="10" y="3" width="9" height="8" rx="2"/></g>`],
  ["clients", `<rect class="operation" x="1" y="2" width="18" height="10" rx="3"/>`],
];

/* On the right there is room for what stands beside the last moment. */
const whole = { from: -data.end * 0.012, to: Math.max(data.end * 1.0625, SHORTEST_NS) };
const shown = Object.fromEntries(KINDS.map(([name]) => [name, true]));
shown.nodes = new Set(data.lanes.filter((l) => l.kind === "node").map((l) => l.number));
const view = { ...whole, width: 1000, top: 0, bottom: 800 };
let drawing = null, hovered = null, chosen = null, due = false;

const moment = (place) => data.axis.moment(place);

/* ---- drawing ------------------------------------------------------------------------------- */

function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    drawAll();
  });
}

function drawAll() {
  const scroller = element("scroller");
  view.width = element("lanes").clientWidth || scroller.clientWidth;
  view.top = scroller.scrollTop;
  view.bottom = scroller.scrollTop + scroller.clientHeight;
  drawing = new Drawing(data, view, shown);
  const picture = drawing.draw();
  const { height } = drawing.plan;
  const lanes = element("lanes");
  lanes.setAttribute("height", Math.max(height, scroller.clientHeight - 4));
  lanes.innerHTML = `<clipPath id="plot"><rect x="${LEFT - 8}" y="0" ` +
    `width="${view.width - LEFT + 8}" height="${Math.max(height, view.bottom)}"/></clipPath>` +
    picture + `<g id="marked"></g>`;
  drawMarks();
  drawRuler();
  drawOverview();
  const seen = moment(Math.min(view.to, data.end)) - moment(Math.max(view.from, 0));
  element("window").textContent = `${lasting(Math.max(seen, 0))} in view`;
  element("status").textContent = drawing.notes.join(". ");
}

function drawMarks() {
  const outline = (ref, kind) => {
    const hit = ref && drawing.hits.find((other) => same(other.ref, ref));
    if (!hit) return "";
    const { x0, y0, x1, y1 } = hit;
    if (ref.type === "arrow")
      return `<path class="${kind}" d="M${x0} ${y0}L${x1} ${y1}"/>`;
    const x = Math.max(x0 - 1.5, LEFT - 6);
    return `<rect class="${kind}" x="${x}" y="${y0 - 1.5}" rx="4" ` +
      `width="${Math.max(Math.min(x1, view.width) - x + 1.5, 3)}" height="${y1 - y0 + 3}"/>`;
  };
  element("marked").innerHTML = outline(hovered, "hot") + outline(chosen, "chosen");
}

const same = (a, b) => a && b && a.type === b.type && a.index === b.index && a.group === b.group &&
  a.column === b.column;

function drawRuler() {
  const ruler = element("ruler"), out = [], { right } = drawing;
  out.push(`<clipPath id="rule"><rect x="${LEFT - 8}" y="0" width="${right}" height="60"/></clipPath>`);
  out.push(`<g clip-path="url(#rule)">`);
  for (const phase of data.phases) {
    const [x0, x1] = [drawing.clampX(phase.begin), drawing.clampX(phase.end)];
    if (x1 - x0 < 1) continue;
    out.push(`<rect class="phase" x="${x0}" y="24" width="${x1 - x0}" height="26"/>` +
      `<path class="phase-edge" d="M${x0} 24v26"/>`);
  }
  const step = rulerStep(view.to - view.from, right - LEFT), taken = [];
  const write = (text, x, look) => {
    const half = textWidth(text) / 2, [begin, end] = [x - half, x + half];
    if (begin <= LEFT - 12 || end >= right) return;
    if (taken.some(([left, other]) => begin < other + 5 && end > left - 5)) return;
    taken.push([begin, end]);
    out.push(`<text class="${look}" x="${round(x)}" y="35" text-anchor="middle">${text}</text>`);
  };
  for (const { x0, x1, text } of drawing.gaps) {
    out.push(`<rect class="break" x="${round(x0)}" y="24" width="${round(x1 - x0)}" height="26"/>`);
    write(text, (Math.max(x0, LEFT - 8) + Math.min(x1, right)) / 2, "break-name");
  }
  for (const [place, t] of data.axis.ticks(view.from, view.to, step)) {
    out.push(`<path class="tick" d="M${round(drawing.x(place))} 43v7"/>`);
    write(clock(t, step), drawing.x(place), "time");
  }
  let path = "";
  for (const [place] of data.axis.ticks(view.from, view.to, step / 5))
    path += `M${round(drawing.x(place))} 47v3`;
  out.push(`<path class="tick" d="${path}"/>`);
  const flagged = flag();
  out.push(flagged.picture, "</g>", phaseNames(flagged), `<text class="heading" x="18" y="36">VIRTUAL TIME</text>`);
  ruler.innerHTML = out.join("");
}

function phaseNames({ left, right }) {
  const words = [];
  for (const phase of data.phases) {
    const x0 = Math.max(drawing.clampX(phase.begin), LEFT - 8);
    const name = `phase: ${phase.name}`;
    const end = x0 + textWidth(name, 11) + 10;
    if (end < drawing.clampX(phase.end) && (end < left || x0 > right))
      words.push(`<text class="phase-name" x="${x0 + 5}" y="14">${escapeText(name)}</text>`);
  }
  return words.join("");
}

function flag() {
  const { failure } = data, none = { left: Infinity, right: Infinity, picture: "" };
  if (!failure) return none;
  const x = drawing.x(failure.at);
  if (x < LEFT - 8 || x > drawing.right) return none;
  const room = Math.max(x - LEFT, drawing.right - x) - 20;
  const text = cut(`${failure.checker}: ${failure.message}`, Math.min(room, 620), 11 * BOLD);
  const width = textWidth(text, 11 * BOLD) + 14;
  const left = drawing.right - x > width ? x : x - width;
  const picture = `<path class="failure-line" d="M${x} 4V50"/><rect class="failure-flag" ` +
    `x="${left}" y="4" width="${width}" height="19" rx="3"/><text class="on-failure" ` +
    `x="${left + 7}" y="14">${escapeText(text)}</text>`;
  return { left, right: left + width, picture };
}

/* ---- the overview: the whole run, and where the view lies in it ----------------------------- */

const overviewX = (ns) =>
  LEFT + ((ns - whole.from) / (whole.to - whole.from)) * (view.width - LEFT - 14);
const overviewTime = (x) =>
  whole.from + ((x - LEFT) / (view.width - LEFT - 14)) * (whole.to - whole.from);

function drawOverview() {
  const out = [`<text class="heading" x="18" y="25">WHOLE RUN</text>`];
  for (const band of data.bands) {
    const [x0, x1] = [overviewX(band.begin), overviewX(band.end)];
    out.push(`<g class="${band.family}"><rect class="band" x="${x0}" y="6" ` +
      `width="${Math.max(x1 - x0, 1.5)}" height="34"/></g>`);
  }
  out.push(`<path class="density" d="${activity()}"/>`);
  for (const { from, to } of data.axis.breaks) {
    const room = (overviewX(to) - overviewX(from)) * 0.22;
    const [x0, x1] = [overviewX(from) + room, overviewX(to) - room];
    out.push(`<path class="break-edge" d="M${x0} 6V40M${x1} 6V40"/>`);
  }
  if (data.failure) {
    const x = overviewX(data.failure.at);
    out.push(`<path class="failure-line" d="M${x} 4V42"/>`);
  }
  const x0 = Math.max(overviewX(view.from), LEFT - 8), x1 = overviewX(view.to);
  out.push(`<path class="shade" d="M${LEFT - 8} 6H${x0}V40H${LEFT - 8}zM${x1} 6H${view.width}V40` +
    `H${x1}z" fill="var(--ground)" fill-opacity="0.7"/>` +
    `<rect id="lens" class="hot" x="${x0}" y="5" width="${Math.max(x1 - x0, 3)}" height="36" rx="4"/>`);
  element("overview").innerHTML = out.join("");
}

let activityFor = { width: 0, path: "" };

function activity() {
  if (activityFor.width === view.width) return activityFor.path;
  const bins = new Array(Math.ceil(view.width / 2) + 1).fill(0);
  const tell = (ns) => { bins[Math.round(overviewX(ns) / 2)] += 1; };
  data.arrows.sent.forEach(tell);
  data.points.forEach((group) => group.at.forEach(tell));
  const most = Math.max(...bins, 1);
  let path = "";
  bins.forEach((number, i) => {
    if (!number) return;
    const height = round(2 + 28 * Math.sqrt(number / most));
    path += `M${i * 2 - 1} ${39 - height}h1.8v${height}h-1.8z`;
  });
  activityFor = { width: view.width, path };
  return path;
}

/* ---- moving -------------------------------------------------------------------------------- */

function show(from, to) {
  const most = whole.to - whole.from;
  const span = Math.min(Math.max(to - from, SHORTEST_NS), most);
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(middle - span / 2, whole.from), whole.to - span);
  view.to = view.from + span;
  redraw();
}

function zoom(factor, at = (view.from + view.to) / 2) {
  const span = Math.min((view.to - view.from) * factor, whole.to - whole.from);
  if (span < SHORTEST_NS) return;
  const share = (at - view.from) / (view.to - view.from);
  show(at - share * span, at + (1 - share) * span);
}

function pan(share) {
  const by = (view.to - view.from) * share;
  show(view.from + by, view.to + by);
}

function showFailure() {
  const { at } = data.failure;
  const span = Math.min((whole.to - whole.from) / 6, 2e9);
  show(at - span * 0.75, at + span * 0.25);
}

const timeAt = (x) => view.from + (x - LEFT) / drawing.scale;

function pointerIn(event, id = "lanes") {
  const box = element(id).getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function onWheel(event) {
  const { x } = pointerIn(event);
  if (x < LEFT - 8) return;
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : 1;
  const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
  if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY))
    pan((sideways * unit) / (view.width - LEFT));
  else zoom(Math.exp(event.deltaY * unit * 0.0016), timeAt(x));
}

/* Drags on a surface; a press that did not move is a click. */
function drags(surface, begin, move, click) {
  surface.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    const state = begin(down);
    let moved = false;
    surface.setPointerCapture(down.pointerId);
    const onMove = (event) => {
      if (!moved && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < 4)
        return;
      moved = true;
      surface.classList.add("dragging");
      move(event, down, state);
    };
    const onUp = (event) => {
      surface.removeEventListener("pointermove", onMove);
      surface.removeEventListener("pointerup", onUp);
      surface.removeEventListener("pointercancel", onUp);
      surface.classList.remove("dragging");
      if (!moved) click(event);
    };
    surface.addEventListener("pointermove", onMove);
    surface.addEventListener("pointerup", onUp);
    surface.addEventListener("pointercancel", onUp);
  });
}

/* ---- what is under the pointer -------------------------------------------------------------- */

const NEAR = 5;

function distance(hit, x, y) {
  if (hit.ref.type !== "arrow") {
    const dx = Math.max(hit.x0 - x, 0, x - hit.x1), dy = Math.max(hit.y0 - y, 0, y - hit.y1);
    return Math.hypot(dx, dy * 1.5);
  }
  const [ax, ay] = [hit.x1 - hit.x0, hit.y1 - hit.y0];
  const share = ((x - hit.x0) * ax + (y - hit.y0) * ay) / (ax * ax + ay * ay || 1);
  const t = Math.min(Math.max(share, 0), 1);
  return Math.hypot(hit.x0 + t * ax - x, hit.y0 + t * ay - y);
}

const RANK = { point: 0, break: 0.5, span: 1.2, band: 1.4, arrow: 1.6, density: 2 };

function under({ x, y }) {
  if (x < LEFT - 8) return null;
  let best = null, least = NEAR + 2;
  for (const hit of drawing.hits) {
    const far = distance(hit, x, y);
    if (far > NEAR || far + RANK[hit.ref.type] >= least) continue;
    least = far + RANK[hit.ref.type];
    best = hit.ref;
  }
  return best;
}

function describe(ref) {
  switch (ref.type) {
    case "arrow": return describeArrow(ref.index);
    case "band": return describeBand(data.bands[ref.index]);
    case "break": return describeBreak(data.axis.breaks[ref.index]);
    case "density": return {
      title: `${ref.sent} messages sent by node ${ref.index}`,
      at: moment(timeAt(ref.column * 3)), fields: [["lost", ref.lost]],
    };
    default: return describeItem(ref);
  }
}

function describeItem({ type, group, index, more }) {
  const { title, fields } = data.wording[group.kind];
  const form = data.texts[group.form[index]], details = group.details[index];
  const lane = data.lanes[group.lane];
  const said = fields.map((name, i) => [name, details[i]])
    .filter(([, value]) => value !== undefined && value !== "");
  return {
    title: fill(title, form, details) + (more ? ` (and ${more} more here)` : ""),
    ...when(group.at[index], type === "span" ? group.length[index] : undefined),
    fields: [["lane", lane.title], ...said],
  };
}

function describeArrow(i) {
  const { arrows, texts, fates } = data;
  const fate = fates[arrows.fate[i]];
  return {
    title: `${texts[arrows.what[i]]} from node ${arrows.sender[i]} to node ${arrows.receiver[i]}: ` +
      (fate === "again" ? "received once more" : fate),
    ...when(arrows.sent[i], fate === "received" || fate === "again" ? arrows.delay[i] : undefined),
    fields: [["term", arrows.term[i]], ["number", arrows.number[i]]],
  };
}

function describeBand(band) {
  return {
    title: band.source, ...when(band.begin, band.end - band.begin || undefined),
    fields: [["fault", `${band.kind} (${band.family})`], ["nodes", band.nodes.join(", ")]],
  };
}

const describeBreak = ({ begin, end }) =>
  ({ title: "nothing happens", at: begin, length: end - begin, fields: [["not", "drawn to scale"]] });

/* What is said of a time and a length on the axis. */
function when(place, length) {
  const at = moment(place);
  return { at, length: length === undefined ? undefined : moment(place + length) - at };
}

function written({ title, at, length, fields }) {
  const when = seconds(at, 6) + (length === undefined ? "" : `, lasts ${lasting(length)}`);
  const rows = [["at", when], ...fields].map(([name, value]) =>
    `<div><dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd></div>`);
  return `<h2>${escapeText(title)}</h2><dl>${rows.join("")}</dl>`;
}

const HINT = `<div class="keys">${element("legend").innerHTML}</div><span class="hint">Wheel zooms, dragging moves, a click keeps details here.
<kbd>←</kbd> <kbd>→</kbd> move, <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>0</kbd> all,
<kbd>N</kbd> <kbd>P</kbd> next and previous thing, <kbd>F</kbd> failure.
Over the names the wheel scrolls.</span>`;

function choose(ref) {
  chosen = ref;
  element("details").innerHTML = ref ? written(describe(ref)) : HINT;
  drawMarks();
}

function hover(event) {
  const ref = event.buttons ? null : under(pointerIn(event));
  const tooltip = element("tooltip");
  tooltip.hidden = !ref;
  if (ref) {
    tooltip.innerHTML = written(describe(ref));
    const { width, height } = tooltip.getBoundingClientRect();
    const x = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
    const y = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
    tooltip.style.left = `${Math.max(x, 4)}px`;
    tooltip.style.top = `${Math.max(y, 4)}px`;
  }
  if (!same(ref, hovered)) {
    hovered = ref;
    drawMarks();
  }
}

/* The next thing that is drawn, in the order of time. */
function walk(by) {
  const things = drawing.hits
    .filter((hit) => hit.ref.type !== "density" && hit.x1 >= LEFT - 8)
    .sort((a, b) => a.x0 - b.x0 || a.y0 - b.y0);
  if (!things.length) return;
  const now = things.findIndex((hit) => same(hit.ref, chosen));
  const next = now < 0 ? (by > 0 ? 0 : things.length - 1)
    : Math.min(Math.max(now + by, 0), things.length - 1);
  choose(things[next].ref);
}

/* ---- controls ------------------------------------------------------------------------------- */

function chip(parent, mark, name, checked, onChange) {
  const label = document.createElement("label");
  label.className = "chip";
  label.innerHTML = `<input type="checkbox"${checked ? " checked" : ""}>${mark}` +
    `<span class="name">${escapeText(name)}</span>`;
  const input = label.firstChild;
  input.name = name;
  input.addEventListener("change", () => {
    onChange(input.checked);
    redraw();
  });
  parent.append(label);
}

function buildControls() {
  for (const [name, mark] of KINDS)
    chip(element("kinds"), `<svg aria-hidden="true">${mark}</svg>`, name, true,
      (on) => { shown[name] = on; });
  for (const node of [...shown.nodes])
    chip(element("nodes"), `<span class="dot c${node}"></span>`, `node ${node}`, true, (on) => {
      if (on) shown.nodes.add(node);
      else shown.nodes.delete(node);
    });
  element("in").onclick = () => zoom(0.5);
  element("out").onclick = () => zoom(2);
  element("fit").onclick = () => show(whole.from, whole.to);
  if (!data.failure) return;
  element("failed").hidden = false;
  element("failed").onclick = showFailure;
}

const KEYS = {
  ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
  0: () => show(whole.from, whole.to), Home: () => show(whole.from, whole.to),
  n: () => walk(1), p: () => walk(-1), Escape: () => choose(null),
  f: () => data.failure && showFailure(),
};

function listen() {
  const lanes = element("lanes"), scroller = element("scroller"), overview = element("overview");
  lanes.addEventListener("wheel", onWheel, { passive: false });
  lanes.addEventListener("pointermove", hover);
  lanes.addEventListener("pointerleave", () => {
    element("tooltip").hidden = true;
    hovered = null;
    drawMarks();
  });
  drags(lanes,
    () => ({ from: view.from, to: view.to, top: scroller.scrollTop }),
    (event, down, state) => {
      const by = (down.clientX - event.clientX) / drawing.scale;
      show(state.from + by, state.to + by);
      scroller.scrollTop = state.top + down.clientY - event.clientY;
    },
    (event) => choose(under(pointerIn(event))));
  const brush = (event, down, state) => {
    const now = overviewTime(pointerIn(event, "overview").x);
    if (state.inside) show(state.from + now - state.at, state.to + now - state.at);
    else show(Math.min(now, state.at), Math.max(now, state.at));
  };
  drags(overview,
    (down) => {
      const at = overviewTime(pointerIn(down, "overview").x);
      const all = view.to - view.from > 0.98 * (whole.to - whole.from);
      return { at, from: view.from, to: view.to, inside: !all && at > view.from && at < view.to };
    },
    brush,
    (event) => {
      const at = overviewTime(pointerIn(event, "overview").x), half = (view.to - view.from) / 2;
      show(at - half, at + half);
    });
  scroller.addEventListener("scroll", redraw);
  addEventListener("resize", redraw);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

element("still").remove();
document.body.classList.remove("still");
buildControls();
listen();
drawAll();
choose(null);
