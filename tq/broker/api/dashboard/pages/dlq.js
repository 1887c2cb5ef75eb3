/** @file Dead letters: grouped by type and error, so that one cause is one line; retry or delete one, a group, or all. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { count, things, visible } from '../app/format.js';
import { address } from '../app/router.js';
import { aName, matching, oneOf } from '../components/asked.js';
import { icon } from '../components/icon.js';
import { nothing, notice } from '../components/notice.js';
import { dataTable, nextOrder, orderOf, ordersOf, sorted } from '../components/table.js';
import { ago } from '../components/time.js';
import { actOnTasks } from './bulk_tasks.js';
import { deadList } from './dead_list.js';
import { kindBar } from './filters.js';
import { queueLink, typeLink } from './links.js';

/** @typedef {import('../app/types.js').DeadGroup} DeadGroup */
/** @typedef {import('../app/types.js').DeadGroups} DeadGroups */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {{found: DeadGroups, tasks: import('../app/types.js').TaskList|null}} Data */
/** @typedef {{trail: string[]}} State */

const EVERY_MS = 5_000;
/** While not all dead letters have been looked at. */
const PARTIAL_EVERY_MS = 2_000;
const LIST_TASKS = 10;

const ORDERS = /** @type {Record<string, (group: DeadGroup) => string|number>} */ ({
  count: (group) => group.count,
  type: (group) => group.task_type,
  queue: (group) => group.queue,
  first: (group) => group.first_seen,
  last: (group) => group.last_seen,
});

const KNOWN = {
  task_type: aName,
  queue: aName,
  group: matching(/^[0-9a-f]{1,64}$/, 'group'),
  sort: oneOf(ordersOf(ORDERS)),
  cursor: matching(/^[1-9]\d{0,17}$/, 'place in the list'),
};

/** @type {import('../app/types.js').Page<Data, State>} */
export const dlq = {
  name: 'dlq',
  heading: 'Dead letters',
  asks: KNOWN,
  filters: kindBar,
  title: () => 'Dead letters',
  state: () => ({ trail: [] }),
  everyMs: (data) => (data?.found.complete === false ? PARTIAL_EVERY_MS : EVERY_MS),
  load: async ({ route: { query }, signal }) => {
    const group = query.get('group');
    const [found, tasks] = await Promise.all([
      calls.deadGroups({ queue: query.get('queue') ?? '', task_type: query.get('task_type') ?? '' }, signal),
      group === null
        ? null
        : calls.tasks(
            {
              status: 'dead_letter',
              fingerprint: group,
              limit: LIST_TASKS,
              cursor: query.get('cursor') ?? '',
            },
            signal,
          ),
    ]);
    return { found, tasks };
  },
  draw,
};

/** @param {View} view @param {Data} data @param {State} state */
function draw(view, { found, tasks }, state) {
  const order = orderOf(view.route.query.get('sort'), '-count');
  const chosen = view.route.query.get('group');
  const group = found.groups.find((one) => one.fingerprint === chosen);
  return [
    h(
      'header',
      { class: 'page-head', key: 'head' },
      h('h1', null, 'Dead letters'),
      h(
        'p',
        { class: 'faint', 'data-test': 'match-count' },
        `${things(found.total, 'task')} in ${things(found.groups.length, 'group')}`,
      ),
      found.total === 0 ? null : allActions(view, found),
    ),
    kindBar(view),
    found.complete
      ? h('span', { key: 'whole' })
      : notice(
          'info',
          'partial',
          `The groups are made of the newest ${count(found.scanned)} so far; all ${count(found.total)} are being looked at.`,
        ),
    chosen === null || tasks === null
      ? h('span', { key: 'no-group' })
      : deadList(view, chosen, group, tasks, state),
    dataTable({
      name: 'groups',
      caption: 'Dead letters by type and error',
      id: (one) => one.fingerprint,
      rows: sorted(found.groups, order, ORDERS),
      order,
      onOrder: (by) => view.setQuery({ sort: nextOrder(order, by) }),
      tone: (one) => (one.fingerprint === chosen ? 'shown' : null),
      empty: nothing(
        'No dead letters',
        'A task that fails for good, or too often, stands here until somebody decides.',
      ),
      columns: columns(view),
    }),
  ];
}

/** @param {View} view @returns {import('../components/table.js').Column<DeadGroup>[]} */
function columns(view) {
  return [
    { title: 'Tasks', sort: 'count', number: true, cell: (group) => count(group.count) },
    { title: 'Type', sort: 'type', cell: (group) => typeLink(group.task_type) },
    { title: 'Error', grows: true, isHead: true, cell: (group) => groupLink(view, group) },
    { title: 'Queue', sort: 'queue', room: 'wide', cell: (group) => queueLink(group.queue) },
    { title: 'First seen', sort: 'first', room: 'wide', cell: (group) => ago(group.first_seen) },
    { title: 'Last seen', sort: 'last', cell: (group) => ago(group.last_seen) },
    {
      title: 'Actions',
      sticks: true,
      isHidden: !view.may('submit_tasks') && !view.may('admin'),
      cell: (group) => groupActions(view, group),
    },
  ];
}

/** @param {View} view @param {DeadGroup} group */
function groupLink(view, group) {
  const { query } = view.route;
  const href = address('/dlq', {
    group: group.fingerprint,
    sort: query.get('sort'),
    queue: query.get('queue'),
    task_type: query.get('task_type'),
  });
  return h(
    'a',
    { class: 'error', href, 'data-link': true, title: group.error },
    group.error || 'no error text',
  );
}

/** @param {View} view @param {DeadGroup} group */
function groupActions(view, group) {
  const targets = {
    ids: null,
    filter: {
      status: 'dead_letter',
      task_type: group.task_type,
      queue: group.queue,
      fingerprint: group.fingerprint,
    },
    total: group.count,
    noun: 'dead letter',
    where: ` of ${visible(group.task_type)}`,
  };
  return actionButtons(view, targets, 'small', { retry: 'retry', delete: 'delete' });
}

/** @param {View} view @param {DeadGroups} found */
function allActions(view, found) {
  const { query } = view.route;
  const filter = {
    status: 'dead_letter',
    queue: query.get('queue') ?? '',
    task_type: query.get('task_type') ?? '',
  };
  return actionButtons(view, { ids: null, filter, total: found.total, noun: 'dead letter' }, '', {
    retry: 'retry-all',
    delete: 'delete-all',
  });
}

/**
 * @param {View} view
 * @param {import('./bulk_tasks.js').Targets} targets
 * @param {string} size
 * @param {{retry: string, delete: string}} tests
 */
function actionButtons(view, targets, size, tests) {
  const act = (/** @type {'retry'|'delete'} */ action) => () =>
    void actOnTasks(action, targets, () => void view.reload());
  const isAll = size === '';
  return h(
    'span',
    { class: 'actions' },
    view.may('submit_tasks')
      ? h(
          'button',
          { type: 'button', class: size || 'primary', 'data-test': tests.retry, onclick: act('retry') },
          icon('retry'),
          isAll ? 'Retry all' : 'Retry',
        )
      : null,
    view.may('admin')
      ? h(
          'button',
          {
            type: 'button',
            class: `${size} danger-quiet`,
            'data-test': tests.delete,
            onclick: act('delete'),
          },
          isAll ? 'Delete all' : 'Delete',
        )
      : null,
  );
}
