"use strict";
/* Time: the axis, its ruler, and how moments and lengths are written. Long stretches in which
   nothing happens are drawn as breaks of the axis, as `axis.py` chose them. What is drawn is measured
   along the axis; what is said is virtual time. Both are in nanoseconds. */

class Axis {
  constructor({ spans, length }) {
    this.length = length;
    let place = 0, before = 0;
    this.breaks = spans.map(([begin, end]) => {
      place += begin - before + length;
      before = end;
      return { begin, end, from: place - length, to: place };
    });
  }

  /* Where a moment lies. */
  place(at) {
    const gap = this.breaks.findLast(({ begin }) => at > begin);
    if (!gap) return at;
    return at >= gap.end ? gap.to + at - gap.end
      : gap.from + Math.floor((at - gap.begin) * this.length / (gap.end - gap.begin));
  }

  /* Which moment lies there. */
  moment(place) {
    const gap = this.breaks.findLast(({ from }) => place > from);
    if (!gap) return place;
    return place >= gap.to ? gap.end + place - gap.to
      : gap.begin + Math.floor((place - gap.from) * (gap.end - gap.begin) / this.length);
  }

  /* The ticks between two places: where each lies, and its moment. */
  *ticks(from, to, step) {
    let piece = { to: -Infinity, end: -Infinity };
    for (const next of [...this.breaks, { from: Infinity, begin: Infinity }]) {
      const first = Math.max(piece.end, this.moment(Math.max(from, 0)), 0);
      const last = Math.min(next.begin, this.moment(to));
      for (let t = Math.ceil(first / step) * step; t <= last; t += step) yield [this.place(t), t];
      piece = next;
    }
  }
}

const STEPS = (() => {
  const steps = [];
  for (let unit = 1; unit < 1e9; unit *= 10) steps.push(unit, 2 * unit, 5 * unit);
  for (const s of [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600,
    43200, 86400, 172800, 432000, 864000, 2592000, 8640000, 31536000]) steps.push(s * 1e9);
  return steps;
})();

function rulerStep(span, width) {
  const least = (span * 92) / Math.max(width, 1);
  return STEPS.find((step) => step >= least) ?? STEPS[STEPS.length - 1];
}

function clock(ns, step) {
  if (step >= 6e10 || ns >= 36e11) {
    const total = Math.floor(ns / 1e9);
    const two = (number) => String(number).padStart(2, "0");
    const [d, h] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24];
    const [m, s] = [Math.floor(total / 60) % 60, total % 60];
    const part = step >= 1e9 ? "" : (ns % 1e9 / 1e9).toFixed(digitsOf(step)).slice(1);
    return (d ? `${d} d ` : "") + `${h}:${two(m)}:${two(s)}${part}`;
  }
  return seconds(ns, digitsOf(step));
}

const digitsOf = (step) => {
  let digits = 0;
  while (digits < 9 && step < 10 ** (9 - digits)) digits += 1;
  return digits;
};

function seconds(ns, digits) {
  const unit = 10 ** (9 - digits);
  return `${(Math.floor(ns / unit) * unit / 1e9).toFixed(digits)} s`;
}

const UNITS = [[864e11, "d"], [36e11, "h"], [6e10, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]];

/* A length of time, as short as it can be said. */
function lasting(ns, digits = 4) {
  for (const [unit, name] of UNITS)
    if (ns >= unit) return `${Number((ns / unit).toPrecision(digits))} ${name}`;
  return `${ns} ns`;
}
