/** @file Overview: is it healthy, how much waits, how quick it goes, what failed. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { about, brief, count, duration, rate, things, words } from '../app/format.js';
import { address } from '../app/router.js';
import { lacksLeader, verdict } from '../app/watch.js';
import { chart } from '../components/chart.js';
import { leaderlessNotice } from '../components/notice.js';
import { failureTable } from './failures.js';
import { healthLines } from './health.js';

/** @typedef {import('../app/types.js').Series} Series */
/** @typedef {import('../app/types.js').Stats} Stats */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {{at: number|null}} Cursor */

const FAILURES_MAX = 50;
const EVERY_MS = 2_000;
/** How long what changes slowly is not read again. */
const SLOW_MS = 4_000;
const SERIES_MS = 20_000;

const STATES = /** @type {const} */ ([
  ['pending', 'pending_count'],
  ['in_progress', 'in_progress_count'],
  ['scheduled', 'scheduled_count'],
  ['blocked', 'blocked_count'],
  ['failed', 'retrying_count'],
  ['completed', 'completed_count'],
  ['dead_letter', 'dead_letter_count'],
  ['cancelled', 'cancelled_count'],
  ['expired', 'expired_count'],
]);

/**
 * @typedef {object} State
 * @property {Cursor} throughput
 * @property {Cursor} depth
 * @property {Map<string, {version: string|number, value: unknown}>} kept
 * @property {Numbers|null} numbers read last
 */

/**
 * @typedef {object} Data
 * @property {import('../app/types.js').Health} health
 * @property {import('../app/types.js').Cluster} cluster
 * @property {Numbers|null} numbers null = not known: nobody has led since the page was opened
 */

/**
 * @typedef {object} Numbers What the leader knows.
 * @property {import('../app/types.js').Worker[]} workers
 * @property {import('../app/types.js').Failure[]} failures
 * @property {Series} series
 * @property {Stats} stats
 */

/** @type {import('../app/types.js').Page<Data, State>} */
export const overview = {
  name: 'overview',
  heading: 'Overview',
  asks: {},
  title: () => 'Overview',
  state: () => ({ throughput: { at: null }, depth: { at: null }, kept: new Map(), numbers: null }),
  everyMs: EVERY_MS,
  needsNoLeader: true,
  load,
  draw,
};

/**
 * The node tells its health and its cluster whether there is a leader or not; for the rest it asks the leader.
 * @param {View} view
 * @param {State} state
 * @returns {Promise<Data>}
 */
async function load(view, state) {
  const { signal, shared } = view;
  const reading = lacksLeader(shared) ? null : readNumbers(view, state);
  // Without a leader it fails late; nobody waits for that.
  reading?.catch(() => undefined);
  const [health, cluster] = await Promise.all([
    shared.health ?? calls.health(signal),
    kept(state, 'cluster', `${slot(SLOW_MS)} ${verdict(shared)}`, () => calls.cluster(signal)),
  ]);
  if (health.leader !== null) state.numbers = await (reading ?? readNumbers(view, state));
  return { health, cluster, numbers: state.numbers };
}

/**
 * Each part is read as often as it changes, and no more: many of these pages may be open on one broker.
 * @param {View} view
 * @param {State} state
 * @returns {Promise<Numbers>}
 */
async function readNumbers({ signal, shared }, state) {
  const { stats: live } = shared;
  // The attempts that failed are read again when there are others; the feed counts them.
  const failed = live?.minute === undefined ? performance.now() : `${live.minute.at} ${live.minute.failed}`;
  const [workers, failures, series, stats] = await Promise.all([
    kept(state, 'workers', slot(SLOW_MS), () => calls.workers(signal)),
    kept(state, 'failures', failed, () => calls.failures(FAILURES_MAX, signal)),
    // The charts move with the feed; the whole hour is read again only now and then.
    kept(state, 'series', slot(SERIES_MS), () => calls.series(signal)),
    live ?? calls.stats(signal),
  ]);
  return { workers, failures, series, stats };
}

/** Which stretch of so many milliseconds it is. @param {number} ms */
function slot(ms) {
  return Math.floor(performance.now() / ms);
}

/**
 * What was read for the same version; else it is read now.
 * @template T
 * @param {State} state
 * @param {string} name
 * @param {string|number} version
 * @param {() => Promise<T>} read
 * @returns {Promise<T>}
 */
async function kept(state, name, version, read) {
  const before = state.kept.get(name);
  if (before?.version === version) return /** @type {T} */ (before.value);
  const value = await read();
  state.kept.set(name, { version, value });
  return value;
}

/** @param {View} view @param {Data} data @param {State} state */
function draw(view, data, state) {
  const { numbers } = data;
  const { health, live } = view.shared;
  const told = { health: health ?? data.health, cluster: data.cluster, workers: numbers?.workers ?? null };
  const stats = view.shared.stats ?? numbers?.stats ?? null;
  const title = h('h1', { class: 'unseen' }, 'Overview');
  const lines = healthLines(told, stats, health === null && live === 'stale');
  if (numbers === null || stats === null) return [title, lines, ...leaderlessNotice()];
  return [
    title,
    lines,
    states(stats),
    charts(view, state, moved(numbers.series, stats)),
    vitals(numbers, stats, stats.latency ?? numbers.series.latency),
    h(
      'section',
      { 'aria-labelledby': 'failures-title', key: 'failures' },
      h('h2', { id: 'failures-title' }, 'Latest failures'),
      failureTable(numbers.failures),
    ),
  ];
}

/** @param {Stats} stats */
function states(stats) {
  return h(
    'ul',
    { class: 'states', 'aria-label': 'Tasks by status', key: 'states' },
    STATES.map(([status, field]) =>
      h(
        'li',
        { 'data-kind': status, class: stats[field] === 0 ? 'zero' : null },
        h(
          'a',
          { href: address('/tasks', { status }), 'data-link': true, 'data-test': `count-${status}` },
          h('b', { title: count(stats[field]) }, brief(stats[field])),
          h('span', null, words(status)),
        ),
      ),
    ),
  );
}

/**
 * The hour with what the live feed has told since it was read.
 * @param {Series} series
 * @param {Stats} stats
 * @returns {Series}
 */
function moved(series, stats) {
  const { minute } = stats;
  if (minute === undefined) return series;
  const steps = series.submitted.length;
  const at = Math.round((Date.parse(minute.at) - Date.parse(series.start)) / (series.step_seconds * 1000));
  const shift = Math.max(0, at - (steps - 1));
  if (at < steps - 1) return series;
  const along = (/** @type {import('../app/types.js').Points} */ points, /** @type {number} */ last) =>
    [...points, .../** @type {null[]} */ (Array(shift).fill(null))]
      .slice(shift, shift + steps - 1)
      .concat(last);
  return {
    ...series,
    start: new Date(Date.parse(series.start) + shift * series.step_seconds * 1000).toISOString(),
    submitted: along(series.submitted, minute.submitted),
    completed: along(series.completed, minute.completed),
    failed: along(series.failed, minute.failed),
    depth: {
      high: along(series.depth.high, minute.depth.high),
      normal: along(series.depth.normal, minute.depth.normal),
      low: along(series.depth.low, minute.depth.low),
    },
  };
}

/** The broker remembers what was completed before it started, if anything: where it was not there, a 0 is none. @param {Series} series */
function sinceStart({ completed, submitted }) {
  return completed.map((value, at) => (value === 0 && submitted[at] === null ? null : value));
}

/** @param {View} view @param {State} state @param {Series} series */
function charts(view, state, series) {
  const common = {
    startMs: Date.parse(series.start),
    stepMs: series.step_seconds * 1000,
    redraw: view.redraw,
  };
  return h(
    'div',
    { class: 'charts', key: 'charts' },
    chart({
      ...common,
      name: 'throughput',
      title: 'Tasks per minute',
      last: 'this minute',
      shape: 'bars',
      cursor: state.throughput,
      layers: [
        { label: 'completed', kind: 'completed', points: sinceStart(series) },
        { label: 'failed attempts', kind: 'dead_letter', points: series.failed },
      ],
      line: { label: 'submitted or retried', kind: 'submitted', points: series.submitted },
    }),
    chart({
      ...common,
      name: 'depth',
      title: 'Waiting, by priority',
      last: 'now',
      shape: 'area',
      cursor: state.depth,
      layers: [
        { label: 'high', kind: 'high', points: series.depth.high },
        { label: 'normal', kind: 'normal', points: series.depth.normal },
        { label: 'low', kind: 'low', points: series.depth.low },
      ],
    }),
  );
}

/** @param {Numbers} numbers @param {Stats} stats @param {import('../app/types.js').Latency} latency */
function vitals(numbers, stats, latency) {
  const over = ` over the last ${things(latency.window_seconds / 60, 'minute')}`;
  const active = numbers.workers.filter((worker) => worker.status === 'active');
  const slots = active.reduce((sum, worker) => sum + worker.capacity, 0);
  const busy = active.reduce((sum, worker) => sum + worker.tasks.length, 0);
  return h(
    'dl',
    { class: 'vitals', key: 'vitals' },
    vital(
      'Oldest waiting',
      stats.pending_count === 0 ? 'none' : duration(stats.oldest_pending_age_ms),
      'oldest',
    ),
    vital('Queue wait', percentiles(latency.queue_wait_ms, over), 'queue-wait'),
    vital('Run time', percentiles(latency.run_ms, over), 'run-time'),
    vital(
      'Active workers',
      [count(active.length), h('small', null, ` ${busy} of ${slots} slots busy`)],
      'active-workers',
    ),
    vital(
      'Last hour',
      [
        brief(stats.completed_last_hour),
        h('small', null, ` completed, ${brief(stats.failed_last_hour)} failed for good`),
      ],
      'last-hour',
    ),
    vital(
      'Now',
      [
        rate(sum(stats, 'in_per_minute')),
        h('small', null, ' in, '),
        rate(sum(stats, 'out_per_minute')),
        h('small', null, ' out'),
      ],
      'rate',
    ),
  );
}

/** @param {Stats} stats @param {'in_per_minute'|'out_per_minute'} field */
function sum(stats, field) {
  return stats.queues.reduce((total, queue) => total + (queue[field] ?? 0), 0);
}

/** @param {string} title @param {import('../app/dom.js').Children} value @param {string} test */
function vital(title, value, test) {
  return h('div', null, h('dt', null, title), h('dd', { 'data-test': test }, value));
}

/** Out of a histogram with steps, so an estimate. @param {import('../app/types.js').Percentiles} found @param {string} over */
function percentiles({ p50, p99 }, over) {
  if (p50 === null || p99 === null) return ['–', h('small', null, ` nothing ran${over}`)];
  return [about(p50), h('small', null, ' p50'), ' ', about(p99), h('small', null, ` p99${over}`)];
}
