/** @file Tasks: every task there is, filtered, in pages; select some or all that match, and act on them. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { count, things, visible, words } from '../app/format.js';
import { tally } from '../app/watch.js';
import { aName, matching, oneOf } from '../components/asked.js';
import { nothing } from '../components/notice.js';
import { nextOrder } from '../components/table.js';
import { submitTask } from '../components/task_form.js';
import { icon } from '../components/icon.js';
import { actOnTasks, PERMISSIONS } from './bulk_tasks.js';
import { filterBar, STATUSES } from './filters.js';
import { everyMs, reachOf, readRows, SORTS, taskOrder } from './task_list.js';
import { taskTable } from './task_table.js';

/** @typedef {import('../app/types.js').View} View */
/** @typedef {import('./task_list.js').Rows} Rows */
/** @typedef {import('../app/types.js').TaskFilter} TaskFilter */
/** @typedef {import('../app/types.js').BulkAction} BulkAction */

const FORM = 'submit';
const KNOWN = {
  status: oneOf(STATUSES),
  task_type: aName,
  queue: aName,
  sort: oneOf(SORTS),
  cursor: matching(/^([1-9]\d{0,17}|from-\d{1,4})$/, 'place in the list'),
  [FORM]: () => null,
};

/**
 * @typedef {object} State
 * @property {Set<string>} ids that are selected
 * @property {boolean} isAll everything that matches is selected
 * @property {string[]} trail the cursors of the pages before this one, as far as they were seen
 * @property {string} filterShown to drop the selection when another one is shown
 */

/** @type {import('../app/types.js').Page<Rows, State>} */
export const tasks = {
  name: 'tasks',
  heading: 'Tasks',
  asks: KNOWN,
  filters: filterBar,
  title: ({ query }) =>
    ['Tasks', words(query.get('status') ?? ''), visible(query.get('task_type') ?? '')]
      .filter(Boolean)
      .join(' · '),
  state: () => ({ ids: new Set(), isAll: false, trail: [], filterShown: '' }),
  everyMs,
  movedBy: tally,
  load,
  draw,
};

/** @param {URLSearchParams} query @returns {TaskFilter} */
function filterOf(query) {
  return {
    status: query.get('status') ?? '',
    task_type: query.get('task_type') ?? '',
    queue: query.get('queue') ?? '',
  };
}

/** @param {View} view @param {State} state @returns {Promise<Rows>} */
async function load(view, state) {
  const { query } = view.route;
  if (query.get(FORM) !== null) queueMicrotask(() => openForm(view));
  const filter = filterOf(query);
  const shown = JSON.stringify(filter);
  if (state.filterShown !== shown) {
    state.filterShown = shown;
    deselect(state);
  }
  // "Back" may lead to a page that is on the trail.
  const at = state.trail.indexOf(query.get('cursor') ?? '');
  if (at !== -1) state.trail = state.trail.slice(0, at);
  return readRows(query, filter, view.signal);
}

/** @param {State} state */
function deselect(state) {
  state.ids = new Set();
  state.isAll = false;
}

/** The address may ask for the form at once. @param {View} view */
function openForm(view) {
  view.setQuery({ [FORM]: null }, { replace: true });
  if (view.shared.me === null || view.may('submit_tasks')) void submit(view);
}

/** @param {View} view */
async function submit(view) {
  const queues = (view.shared.stats?.queues ?? []).map((queue) => queue.queue);
  const workers = await calls.workers().catch(() => []);
  const types = [...new Set(workers.flatMap((worker) => worker.task_types))];
  if ((await submitTask({ suggestions: { types, queues } })) !== null) void view.reload();
}

/** @param {View} view @param {Rows} page @param {State} state */
function draw(view, page, state) {
  const order = taskOrder(view.route.query);
  const reach = reachOf(page, order);
  const canAct = view.may('cancel_tasks') || view.may('submit_tasks');
  return [
    h(
      'header',
      { class: 'page-head', key: 'head' },
      h('h1', null, 'Tasks'),
      h('p', { class: 'faint', 'data-test': 'match-count' }, things(page.total, 'task')),
      view.may('submit_tasks')
        ? h(
            'button',
            { type: 'button', class: 'primary', 'data-test': 'submit', onclick: () => void submit(view) },
            icon('plus'),
            'Submit a task',
          )
        : null,
    ),
    filterBar(view),
    selectionBar(view, page, state),
    reach === null
      ? h('span', { key: 'no-note' })
      : h('p', { class: 'faint', key: 'order-note', 'data-test': 'order-note' }, reach),
    taskTable({
      name: 'tasks',
      caption: 'Tasks',
      rows: page.tasks,
      order,
      onOrder: (by) => view.setQuery({ sort: nextOrder(order, by), cursor: null }),
      ...(canAct ? { selection: selectionOf(view, page, state) } : {}),
      empty: nothing('No task matches', 'Take a filter away, or submit a task.'),
    }),
    pager(view, page, state),
  ];
}

/** @param {View} view @param {Rows} page @param {State} state @returns {import('../components/table.js').Selection} */
function selectionOf(view, page, state) {
  const ids = state.isAll ? new Set(page.tasks.map((task) => task.task_id)) : state.ids;
  const changed = () => {
    state.ids = ids;
    state.isAll = false;
    view.redraw();
  };
  return { ids, changed };
}

/** @param {View} view @param {Rows} page @param {State} state */
function selectionBar(view, page, state) {
  const chosen = state.isAll ? page.total : state.ids.size;
  if (chosen === 0) return h('span', { key: 'no-selection' });
  const canExtend =
    !state.isAll && page.total > state.ids.size && page.tasks.every((task) => state.ids.has(task.task_id));
  return h(
    'div',
    {
      class: 'bulk-bar',
      key: 'selection',
      role: 'region',
      'aria-label': 'Selected tasks',
      'data-test': 'bulk-bar',
    },
    h(
      'strong',
      { role: 'status' },
      state.isAll ? `All ${count(page.total)} that match` : `${count(chosen)} selected`,
    ),
    canExtend
      ? h(
          'button',
          {
            type: 'button',
            class: 'link',
            'data-test': 'select-all',
            onclick: () => ((state.isAll = true), view.redraw()),
          },
          `Select all ${count(page.total)} that match`,
        )
      : null,
    h('span', { class: 'space' }),
    action(view, page, state, 'cancel', 'Cancel'),
    action(view, page, state, 'retry', 'Retry'),
    action(view, page, state, 'delete', 'Delete'),
    h(
      'button',
      {
        type: 'button',
        class: 'plain',
        'aria-label': 'Select nothing',
        onclick: () => (deselect(state), view.redraw()),
      },
      icon('close'),
    ),
  );
}

/** @param {View} view @param {Rows} page @param {State} state @param {BulkAction} name @param {string} text */
function action(view, page, state, name, text) {
  if (!view.may(PERMISSIONS[name])) return null;
  const act = async () => {
    const filter = filterOf(view.route.query);
    const targets = {
      ids: state.isAll ? null : [...state.ids],
      filter,
      total: state.isAll ? page.total : state.ids.size,
      noun: 'task',
    };
    if (await actOnTasks(name, targets, () => void view.reload())) {
      deselect(state);
      view.redraw();
    }
  };
  return h(
    'button',
    {
      type: 'button',
      class: name === 'retry' ? null : 'danger-quiet',
      'data-test': name,
      onclick: () => void act(),
    },
    text,
  );
}

/** @param {View} view @param {Rows} page @param {State} state */
function pager(view, page, state) {
  const cursor = view.route.query.get('cursor');
  const { next } = page;
  const ahead = () => {
    state.trail.push(cursor ?? '');
    view.setQuery({ cursor: next });
  };
  return h(
    'nav',
    { class: 'pager', 'aria-label': 'Pages of tasks', key: 'pager' },
    h(
      'button',
      {
        type: 'button',
        disabled: cursor === null,
        'data-test': 'first',
        onclick: () => ((state.trail = []), view.setQuery({ cursor: null })),
      },
      'First',
    ),
    h(
      'button',
      {
        type: 'button',
        disabled: cursor === null || state.trail.length === 0,
        'data-test': 'previous',
        onclick: () => view.setQuery({ cursor: state.trail.pop() ?? null }),
      },
      'Previous',
    ),
    h('button', { type: 'button', disabled: next === null, 'data-test': 'next', onclick: ahead }, 'Next'),
    h('span', { class: 'faint' }, `${count(page.tasks.length)} of ${count(page.total)} shown`),
  );
}
