/**
 * @file Stacked bars and areas over time, as SVG. The shapes fill a box that stretches; words stand beside it as HTML,
 * so that they are never stretched. The pointer and the arrow keys show the numbers of one step.
 */

import { h, s } from '../app/dom.js';
import { brief, count } from '../app/format.js';

const WIDTH = 600;
const HEIGHT = 140;
const GAP = 1.5;
const FACTORS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** @typedef {{label: string, kind: string, points: import('../app/types.js').Points}} Layer */

/**
 * @typedef {object} Chart
 * @property {string} name
 * @property {string} title
 * @property {string} last what the last step is called
 * @property {'bars'|'area'} shape
 * @property {Layer[]} layers the first is at the bottom
 * @property {Layer} [line] drawn above them, not stacked
 * @property {number} startMs
 * @property {number} stepMs
 * @property {{at: number|null}} cursor which step is looked at; the chart changes it
 * @property {() => void} redraw
 */

/** @param {Chart} chart @returns {HTMLElement} */
export function chart(chart) {
  const steps = chart.layers[0]?.points.length ?? 0;
  const totals = Array.from({ length: steps }, (_, at) =>
    chart.layers.reduce((sum, layer) => sum + (layer.points[at] ?? 0), 0),
  );
  const top = ceiling(Math.max(0, ...totals, ...(chart.line?.points ?? []).map((value) => value ?? 0)));
  const shown = chart.cursor.at ?? steps - 1;
  return h(
    'figure',
    { class: 'chart', key: chart.name },
    h('figcaption', null, h('h2', null, chart.title), legend(chart, shown)),
    h(
      'div',
      { class: 'plot' },
      h('span', { class: 'top', 'aria-hidden': 'true' }, brief(top)),
      picture(chart, totals, top, shown),
    ),
    h(
      'div',
      { class: 'axis', 'aria-hidden': 'true' },
      axis(chart, steps).map((label) => h('span', null, label)),
    ),
  );
}

/** @param {Chart} chart @param {number[]} totals @param {number} top @param {number} shown */
function picture(chart, totals, top, shown) {
  const steps = totals.length;
  const width = WIDTH / Math.max(1, steps);
  const shapes = chart.shape === 'bars' ? bars(chart, width, top) : areas(chart, width, top);
  return s(
    'svg',
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: 'none',
      role: 'img',
      tabindex: '0',
      'aria-label': `${chart.title}: ${spoken(chart, shown)}. Arrow keys move through time.`,
      'data-test': `chart-${chart.name}`,
      'data-value': totals[steps - 1] ?? 0,
      onpointermove: (/** @type {PointerEvent} */ event) => point(chart, event, steps),
      onpointerleave: () => move(chart, null),
      onblur: () => move(chart, null),
      onkeydown: (/** @type {KeyboardEvent} */ event) => step(chart, event, steps),
    },
    [0.5, 1].map((part) =>
      s('line', {
        class: 'grid',
        x1: 0,
        x2: WIDTH,
        y1: HEIGHT * (1 - part) + 0.5,
        y2: HEIGHT * (1 - part) + 0.5,
      }),
    ),
    chart.cursor.at === null
      ? null
      : s('rect', { class: 'cursor', x: shown * width, y: 0, width, height: HEIGHT }),
    shapes,
    chart.line === undefined ? null : lineOf(chart.line, width, top),
  );
}

/** @param {Chart} chart @param {number} width @param {number} top */
function bars(chart, width, top) {
  const steps = chart.layers[0]?.points.length ?? 0;
  const heights = Array.from({ length: steps }, () => 0);
  return chart.layers.map((layer) =>
    s(
      'g',
      { class: `layer ${layer.kind}` },
      layer.points.map((value, at) => {
        if (value === null) return null;
        const height = (value / top) * HEIGHT;
        const below = heights[at] ?? 0;
        heights[at] = below + height;
        return s('rect', {
          x: at * width + GAP / 2,
          y: HEIGHT - below - height,
          width: Math.max(0.5, width - GAP),
          height,
        });
      }),
    ),
  );
}

/** The stretches of steps of which something is known. @param {import('../app/types.js').Points} points */
function stretches(points) {
  /** @type {number[][]} */
  const found = [];
  points.forEach((value, at) => {
    if (value === null) return;
    if ((points[at - 1] ?? null) === null) found.push([]);
    found.at(-1)?.push(at);
  });
  return found;
}

/** With gaps where nothing is known. @param {Chart} chart @param {number} width @param {number} top */
function areas(chart, width, top) {
  const steps = chart.layers[0]?.points.length ?? 0;
  /** @type {number[]} */
  let floor = Array.from({ length: steps }, () => 0);
  return chart.layers.map((layer) => {
    const roof = layer.points.map((value, at) => (value ?? 0) + (floor[at] ?? 0));
    const below = floor;
    const edge = (/** @type {number[]} */ values, /** @type {number[]} */ stretch) =>
      stretch.map((at) => `${(at + 0.5) * width} ${HEIGHT - ((values[at] ?? 0) / top) * HEIGHT}`);
    const path = stretches(layer.points)
      .map((stretch) => `M${edge(roof, stretch).join('L')}L${edge(below, stretch).reverse().join('L')}Z`)
      .join('');
    floor = roof;
    return s('path', { class: `layer ${layer.kind}`, d: path });
  });
}

/** A line with gaps where nothing is known. @param {Layer} line @param {number} width @param {number} top */
function lineOf({ kind, points }, width, top) {
  const path = points
    .map((value, at) => {
      if (value === null) return '';
      const isFirst = (points[at - 1] ?? null) === null;
      return `${isFirst ? 'M' : 'L'}${(at + 0.5) * width} ${HEIGHT - (value / top) * HEIGHT}`;
    })
    .join('');
  return s('path', { class: `line ${kind}`, d: path });
}

/** Everything the chart shows. @param {Chart} chart */
function named(chart) {
  return chart.line === undefined ? chart.layers : [...chart.layers, chart.line];
}

/** The next round number: 1, 1.5, 2, 3 ... 10, 15 ... @param {number} value */
function ceiling(value) {
  if (value <= 4) return 4;
  const scale = 10 ** Math.floor(Math.log10(value));
  return scale * /** @type {number} */ (FACTORS.find((factor) => factor * scale >= value));
}

/** @param {Chart} chart @param {number} at */
function legend(chart, at) {
  return h(
    'ul',
    { class: 'legend' },
    h(
      'li',
      { class: 'when' },
      chart.cursor.at === null ? chart.last : time.format(chart.startMs + at * chart.stepMs),
    ),
    named(chart).map((layer) => {
      const value = layer.points[at];
      return h(
        'li',
        null,
        h('i', { class: layer.kind, 'aria-hidden': 'true' }),
        `${layer.label} `,
        value === null || value === undefined
          ? h('span', { class: 'faint' }, 'not known')
          : h('b', null, count(value)),
      );
    }),
  );
}

/** @param {Chart} chart @param {number} at */
function spoken(chart, at) {
  const when = chart.cursor.at === null ? chart.last : `at ${time.format(chart.startMs + at * chart.stepMs)}`;
  return `${when}, ${named(chart)
    .map((layer) => {
      const value = layer.points[at] ?? null;
      return `${layer.label} ${value === null ? 'not known' : count(value)}`;
    })
    .join(', ')}`;
}

/** @param {Chart} chart @param {number} steps */
function axis(chart, steps) {
  return [0, 1 / 3, 2 / 3]
    .map((part) => time.format(chart.startMs + Math.round(part * steps) * chart.stepMs))
    .concat('now');
}

/** @param {Chart} chart @param {PointerEvent} event @param {number} steps */
function point(chart, event, steps) {
  const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
  const at = Math.floor(((event.clientX - box.left) / box.width) * steps);
  move(chart, Math.min(steps - 1, Math.max(0, at)));
}

/** @param {Chart} chart @param {KeyboardEvent} event @param {number} steps */
function step(chart, event, steps) {
  const by = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
  if (by === 0) return;
  event.preventDefault();
  move(chart, Math.min(steps - 1, Math.max(0, (chart.cursor.at ?? steps - 1) + by)));
}

/** @param {Chart} chart @param {number|null} at */
function move(chart, at) {
  if (chart.cursor.at === at) return;
  chart.cursor.at = at;
  chart.redraw();
}
