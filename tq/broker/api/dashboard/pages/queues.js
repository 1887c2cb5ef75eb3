/** @file Queues: how deep, how old, how quick; pause, resume, purge. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { brief, count, duration, rate, things, visible } from '../app/format.js';
import { address } from '../app/router.js';
import { oneOf } from '../components/asked.js';
import { badge } from '../components/badge.js';
import { startBulk } from '../components/bulk.js';
import { ask } from '../components/dialog.js';
import { icon } from '../components/icon.js';
import { nothing, notice } from '../components/notice.js';
import { dataTable, nextOrder, orderOf, ordersOf, sorted } from '../components/table.js';
import { toast } from '../components/toast.js';
import { queueLink } from './links.js';
import { unserved } from './unserved.js';

/** @typedef {import('../app/types.js').Queue} Queue */
/** @typedef {import('../app/types.js').View} View */

const EVERY_MS = 2_000;
const MINUTE_MS = 60_000;
/** What a purge takes: everything that waits. What runs goes on, what has ended stays to be looked at. */
const WAITING = /** @type {const} */ (['pending', 'scheduled', 'blocked', 'failed']);

const ORDERS = /** @type {Record<string, (queue: Queue) => string|number>} */ ({
  queue: (queue) => queue.queue,
  pending: (queue) => queue.pending,
  running: (queue) => queue.in_progress,
  scheduled: (queue) => queue.scheduled,
  blocked: (queue) => queue.blocked,
  failed: (queue) => queue.retrying,
  dead: (queue) => queue.dead_letter,
  oldest: (queue) => queue.oldest_pending_age_ms,
  in: (queue) => queue.in_per_minute ?? 0,
  out: (queue) => queue.out_per_minute ?? 0,
});

/** @type {import('../app/types.js').Page<Queue[], null>} */
export const queues = {
  name: 'queues',
  heading: 'Queues',
  asks: { sort: oneOf(ordersOf(ORDERS)) },
  title: () => 'Queues',
  state: () => null,
  everyMs: EVERY_MS,
  load: ({ signal }) => calls.queues(signal),
  draw,
};

/** @param {View} view @param {Queue[]} data */
function draw(view, data) {
  const order = orderOf(view.route.query.get('sort'), '-pending');
  return [
    h(
      'header',
      { class: 'page-head', key: 'head' },
      h('h1', null, 'Queues'),
      h('p', { class: 'faint' }, things(data.length, 'queue')),
    ),
    banner(data),
    dataTable({
      name: 'queues',
      caption: 'Queues',
      id: (queue) => queue.queue,
      rows: sorted(data, order, ORDERS),
      order,
      onOrder: (by) => view.setQuery({ sort: nextOrder(order, by) }),
      tone: (queue) => (queue.paused ? 'paused' : null),
      empty: nothing('There is no queue yet', 'A queue is there as soon as a task is submitted to it.'),
      columns: columns(view),
    }),
  ];
}

/** Types that wait and that no worker serves, all in one. @param {Queue[]} data */
function banner(data) {
  const content = unserved(data);
  return content === null ? h('span', { key: 'served' }) : notice('warn', 'unserved', content);
}

/** @param {View} view @returns {import('../components/table.js').Column<Queue>[]} */
function columns(view) {
  return [
    {
      title: 'Queue',
      sort: 'queue',
      isHead: true,
      cell: (queue) => [queueLink(queue.queue), ...(queue.paused ? pausedMark(queue) : [])],
    },
    { title: 'Pending', sort: 'pending', number: true, cell: depth('pending', 'pending') },
    { title: 'Running', sort: 'running', number: true, cell: depth('in_progress', 'in_progress') },
    {
      title: 'Scheduled',
      sort: 'scheduled',
      number: true,
      room: 'widest',
      cell: depth('scheduled', 'scheduled'),
    },
    { title: 'Blocked', sort: 'blocked', number: true, room: 'widest', cell: depth('blocked', 'blocked') },
    { title: 'Retrying', sort: 'failed', number: true, room: 'wide', cell: depth('retrying', 'failed') },
    { title: 'Dead', sort: 'dead', number: true, room: 'wide', cell: depth('dead_letter', 'dead_letter') },
    {
      title: 'Oldest',
      sort: 'oldest',
      number: true,
      cell: (queue) => (queue.pending === 0 ? '–' : duration(queue.oldest_pending_age_ms)),
    },
    { title: 'In', sort: 'in', number: true, room: 'wide', cell: (queue) => rate(queue.in_per_minute) },
    { title: 'Out', sort: 'out', number: true, room: 'wide', cell: (queue) => rate(queue.out_per_minute) },
    { title: 'Drained in', number: true, room: 'wide', cell: drainTime },
    { title: 'Actions', sticks: true, isHidden: !view.may('admin'), cell: (queue) => actions(view, queue) },
  ];
}

/** That it is paused, and why in the line below. @param {Queue} queue */
function pausedMark({ paused_reason: reason }) {
  return [
    h('span', { class: 'paused-mark' }, badge('paused')),
    reason === '' ? null : h('span', { class: 'paused-reason', title: reason }, reason),
  ];
}

/** @param {'pending'|'in_progress'|'scheduled'|'blocked'|'retrying'|'dead_letter'} field @param {string} status */
function depth(field, status) {
  return (/** @type {Queue} */ queue) =>
    queue[field] === 0
      ? h('span', { class: 'faint' }, '0')
      : h(
          'a',
          {
            class: 'plain',
            href: address('/tasks', { status, queue: queue.queue }),
            'data-link': true,
            title: count(queue[field]),
          },
          brief(queue[field]),
        );
}

/** How long until nothing waits, at the rates of the last minute. @param {Queue} queue */
function drainTime(queue) {
  const into = queue.in_per_minute;
  const out = queue.out_per_minute;
  if (queue.pending === 0) return h('span', { class: 'faint' }, 'empty');
  if (queue.paused) return h('span', { class: 'faint' }, 'paused');
  if (into === null || into === undefined || out === null || out === undefined) return '–';
  if (out === 0) return h('span', { class: 'bad-text' }, 'nothing leaves');
  if (out <= into) return h('span', { class: 'bad-text' }, 'grows');
  return `~ ${duration((queue.pending / (out - into)) * MINUTE_MS)}`;
}

/** @param {View} view @param {Queue} queue */
function actions(view, queue) {
  const waiting = waitingOf(queue);
  const pause = () =>
    h(
      'button',
      { type: 'button', class: 'small', 'data-test': 'pause', onclick: () => void pauseQueue(view, queue) },
      icon('pause'),
      'Pause',
    );
  const resume = () =>
    h(
      'button',
      { type: 'button', class: 'small', 'data-test': 'resume', onclick: () => void resumeQueue(view, queue) },
      icon('play'),
      'Resume',
    );
  return h(
    'span',
    { class: 'actions' },
    queue.paused ? resume() : pause(),
    h(
      'button',
      {
        type: 'button',
        class: 'small danger-quiet',
        disabled: waiting === 0,
        title: waiting === 0 ? 'Nothing waits in it' : null,
        'data-test': 'purge',
        onclick: () => void purgeQueue(view, queue),
      },
      'Purge',
    ),
  );
}

/** How many tasks a purge takes. @param {Queue} queue */
function waitingOf(queue) {
  return queue.pending + queue.scheduled + queue.blocked + queue.retrying;
}

/** @param {View} view @param {Queue} queue */
async function pauseQueue(view, { queue }) {
  const values = await ask({
    title: `Pause ${visible(queue)}?`,
    confirm: 'Pause the queue',
    body: h(
      'p',
      null,
      'Tasks are still taken in, and none is handed out until the queue is resumed. What runs goes on.',
    ),
    fields: [{ name: 'reason', label: 'Why', hint: 'Shown to everybody who wonders' }],
    act: async (given) => void (await calls.pause(queue, given['reason'] ?? '')),
  });
  if (values === null) return;
  toast(`${visible(queue)} is paused`);
  void view.reload();
}

/** @param {View} view @param {Queue} queue */
async function resumeQueue(view, { queue }) {
  await calls.resume(queue);
  toast(`${visible(queue)} goes on`);
  void view.reload();
}

/** @param {View} view @param {Queue} queue */
async function purgeQueue(view, queue) {
  const total = waitingOf(queue);
  const values = await ask({
    title: `Purge ${visible(queue.queue)}?`,
    confirm: `Purge ${things(total, 'task')}`,
    isDanger: true,
    typed: queue.queue,
    body: h(
      'p',
      null,
      `${things(total, 'waiting task')} of this queue are cancelled and forgotten, with their payloads. What runs goes on. This cannot be undone.`,
    ),
  });
  if (values === null) return;
  let at = 0;
  startBulk({
    title: `Purging ${visible(queue.queue)}`,
    done: 'purged',
    total,
    perSecond: null,
    after: () => void view.reload(),
    step: async (limit, signal) => {
      const { purged, more } = await calls.purge({ status: WAITING[at], queue: queue.queue, limit }, signal);
      if (!more) at += 1;
      return { done: purged, skipped: 0, isOver: at >= WAITING.length };
    },
  });
}
