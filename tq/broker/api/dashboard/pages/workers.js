/** @file Workers: who is connected, what they serve and run, how they fare; drain one. */

import * as calls from '../app/calls.js';
import { h, s } from '../app/dom.js';
import { bytes, things, visible } from '../app/format.js';
import { aName, oneOf } from '../components/asked.js';
import { badge } from '../components/badge.js';
import { ask } from '../components/dialog.js';
import { icon } from '../components/icon.js';
import { nothing } from '../components/notice.js';
import { dataTable, nextOrder, orderOf, ordersOf, sorted } from '../components/table.js';
import { ago } from '../components/time.js';
import { toast } from '../components/toast.js';
import { names, taskLink } from './links.js';
import { taskTable } from './task_table.js';

/** @typedef {import('../app/types.js').Worker} Worker */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {{workers: Worker[], tasks: import('../app/types.js').TaskList|null}} Data */

const EVERY_MS = 2_000;
const TASKS_MAX = 100;
const TASKS_BESIDE = 1;
const BAR = { width: 48, height: 6 };

const ORDERS = /** @type {Record<string, (worker: Worker) => string|number>} */ ({
  id: (worker) => worker.worker_id,
  host: (worker) => `${worker.host} ${worker.pid}`,
  status: (worker) => worker.status,
  busy: (worker) => worker.tasks.length,
  cpu: (worker) => worker.cpu_percent,
  memory: (worker) => worker.memory_bytes,
  heartbeat: (worker) => worker.last_heartbeat ?? '',
});

/** @type {import('../app/types.js').Page<Data, null>} */
export const workers = {
  name: 'workers',
  heading: 'Workers',
  asks: { worker: aName, sort: oneOf(ordersOf(ORDERS)) },
  title: ({ query }) => visible(query.get('worker') ?? 'Workers'),
  state: () => null,
  everyMs: EVERY_MS,
  load: async ({ route, signal }) => {
    const worker = route.query.get('worker');
    const [found, tasks] = await Promise.all([
      calls.workers(signal),
      worker === null ? null : calls.tasks({ worker_id: worker, limit: TASKS_MAX }, signal),
    ]);
    return { workers: found, tasks };
  },
  draw,
};

/** @param {View} view @param {Data} data */
function draw(view, data) {
  const order = orderOf(view.route.query.get('sort'), 'id');
  const slots = data.workers.reduce((sum, worker) => sum + worker.capacity, 0);
  return [
    h(
      'header',
      { class: 'page-head', key: 'head' },
      h('h1', null, 'Workers'),
      h('p', { class: 'faint' }, `${things(data.workers.length, 'worker')}, ${things(slots, 'slot')}`),
    ),
    workerDetail(view, data),
    dataTable({
      name: 'workers',
      caption: 'Workers',
      id: (worker) => worker.session_id,
      rows: sorted(data.workers, order, ORDERS),
      order,
      onOrder: (by) => view.setQuery({ sort: nextOrder(order, by) }),
      tone: (worker) => (worker.worker_id === view.route.query.get('worker') ? 'shown' : null),
      empty: nothing(
        'No worker is connected',
        'Start one with ',
        h('code', null, 'tq-worker'),
        ', and it will stand here.',
      ),
      columns: columns(view),
    }),
  ];
}

/** @param {View} view @returns {import('../components/table.js').Column<Worker>[]} */
function columns(view) {
  return [
    {
      title: 'Worker',
      sort: 'id',
      isHead: true,
      cell: (worker) =>
        h(
          'a',
          {
            class: 'name',
            href: `/workers?worker=${encodeURIComponent(worker.worker_id)}`,
            'data-link': true,
          },
          visible(worker.worker_id),
        ),
    },
    { title: 'Status', sort: 'status', cell: (worker) => badge(worker.status) },
    { title: 'Slots', sort: 'busy', cell: slotsOf },
    { title: 'Runs now', room: 'wider', cell: (worker) => tasksBeside(worker.tasks) },
    { title: 'Types', room: 'wider', grows: true, cell: (worker) => names(worker.task_types) },
    {
      title: 'Queues',
      room: 'wider',
      cell: (worker) =>
        worker.queues.length === 0 ? h('span', { class: 'faint' }, 'all') : names(worker.queues),
    },
    { title: 'CPU', sort: 'cpu', number: true, room: 'wide', cell: (worker) => `${worker.cpu_percent} %` },
    {
      title: 'Memory',
      sort: 'memory',
      number: true,
      room: 'wide',
      cell: (worker) => bytes(worker.memory_bytes),
    },
    { title: 'Heartbeat', sort: 'heartbeat', cell: (worker) => ago(worker.last_heartbeat) },
    {
      title: 'Host',
      sort: 'host',
      room: 'wide',
      cell: (worker) => [visible(worker.host), h('span', { class: 'faint' }, ` ${worker.pid}`)],
    },
    { title: 'Version', room: 'wider', cell: (worker) => worker.version },
    {
      title: 'Actions',
      sticks: true,
      isHidden: !view.may('admin'),
      cell: (worker) => drainButton(view, worker),
    },
  ];
}

/** @param {Worker} worker */
function slotsOf(worker) {
  const busy = worker.tasks.length;
  const all = Math.max(worker.capacity, busy);
  const { width, height } = BAR;
  const bar = s(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' },
    s('rect', { class: 'all', width, height, rx: height / 2 }),
    s('rect', { class: 'busy', width: all === 0 ? 0 : (busy / all) * width, height, rx: height / 2 }),
  );
  return h(
    'span',
    { class: 'slots', title: `${busy} of ${worker.capacity} slots busy` },
    bar,
    `${busy}/${worker.capacity}`,
  );
}

/** @param {string[]} ids */
function tasksBeside(ids) {
  if (ids.length === 0) return h('span', { class: 'faint' }, 'idle');
  const rest = ids.length - TASKS_BESIDE;
  return [
    ids
      .slice(0, TASKS_BESIDE)
      .map((id) => [taskLink(id), ' '])
      .flat(),
    rest > 0 ? h('span', { class: 'faint' }, `+${rest}`) : null,
  ].flat();
}

/** @param {View} view @param {Worker} worker */
function drainButton(view, worker) {
  const isOver = worker.status !== 'active';
  return h(
    'button',
    {
      type: 'button',
      class: 'small',
      disabled: isOver,
      'data-test': 'drain',
      onclick: () => void drain(view, worker),
    },
    'Drain',
  );
}

/** @param {View} view @param {Worker} worker */
async function drain(view, worker) {
  const values = await ask({
    title: `Drain ${visible(worker.worker_id)}?`,
    confirm: 'Drain the worker',
    isDanger: true,
    body: h(
      'p',
      null,
      worker.tasks.length === 0
        ? 'It takes no more tasks, and stops; it runs none now.'
        : `It takes no more tasks, finishes the ${things(worker.tasks.length, 'task')} it runs, and stops. What is not finished in its grace time is handed back and costs no retry.`,
    ),
    act: () => calls.drain(worker.session_id),
  });
  if (values === null) return;
  toast(`${visible(worker.worker_id)} drains`);
  void view.reload();
}

/** @param {View} view @param {Data} data */
function workerDetail(view, { workers: all, tasks }) {
  const id = view.route.query.get('worker');
  if (id === null || tasks === null) return h('span', { key: 'no-detail' });
  const found = all.find((worker) => worker.worker_id === id);
  return h(
    'section',
    { class: 'detail', key: `detail-${id}`, 'aria-labelledby': 'detail-title', 'data-test': 'worker-detail' },
    h(
      'header',
      null,
      h('h2', { id: 'detail-title' }, visible(id)),
      found === undefined ? badge('gone') : badge(found.status),
      h('span', { class: 'space' }),
      h('a', { href: '/workers', 'data-link': true, 'aria-label': 'Close' }, icon('close')),
    ),
    found === undefined ? h('p', { class: 'faint' }, 'It is not connected any more.') : served(found),
    taskTable({
      name: 'worker-tasks',
      caption: `Tasks that ${visible(id)} runs`,
      rows: tasks.tasks,
      without: ['Worker', 'Reason', 'Status'],
      empty: h('p', { class: 'faint' }, 'It runs nothing now.'),
    }),
  );
}

/** @param {Worker} worker */
function served(worker) {
  return h(
    'p',
    null,
    `Connected `,
    ago(worker.connected_at),
    ` from ${visible(worker.host)}, pid ${worker.pid}, version ${visible(worker.version)}. Serves `,
    worker.task_types.map(visible).join(', '),
    ' on ',
    worker.queues.length === 0 ? 'all queues' : worker.queues.map(visible).join(', '),
    '.',
  );
}
