/** @file The tasks of one group of dead letters, each with the errors of all its attempts. */

import { h, still } from '../app/dom.js';
import { count, firstLine, things, visible } from '../app/format.js';
import { outcomeBadge } from '../components/badge.js';
import { icon } from '../components/icon.js';
import { dataTable } from '../components/table.js';
import { ago } from '../components/time.js';
import { actOnTasks } from './bulk_tasks.js';
import { taskLink } from './links.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').View} View */

const LINE_CHARS_MAX = 140;

/**
 * @param {View} view
 * @param {string} fingerprint
 * @param {import('../app/types.js').DeadGroup|undefined} group undefined: it is gone
 * @param {import('../app/types.js').TaskList} list
 * @param {{trail: string[]}} state
 */
export function deadList(view, fingerprint, group, list, state) {
  return h(
    'section',
    { class: 'detail', key: `group-${fingerprint}`, 'aria-labelledby': 'group-title', 'data-test': 'group' },
    h(
      'header',
      null,
      h('h2', { id: 'group-title' }, visible(group?.task_type ?? 'Group')),
      h('span', { class: 'faint' }, things(group?.count ?? list.tasks.length, 'task')),
      h('span', { class: 'space' }),
      h(
        'button',
        {
          type: 'button',
          class: 'plain',
          'aria-label': 'Close',
          onclick: () => view.setQuery({ group: null, cursor: null }),
        },
        icon('close'),
      ),
    ),
    group === undefined
      ? h('p', { class: 'faint' }, 'No dead letter of this group is left.')
      : h('pre', { class: 'error' }, group.error),
    dataTable({
      name: 'dead',
      caption: 'Dead letters of this group',
      id: (/** @type {Task} */ task) => task.task_id,
      rows: list.tasks,
      columns: columns(view),
      empty: h('p', { class: 'faint' }, 'Nothing here.'),
    }),
    pager(view, list, state),
  );
}

/** @param {View} view @returns {import('../components/table.js').Column<Task>[]} */
function columns(view) {
  return [
    { title: 'ID', isHead: true, cell: (task) => taskLink(task.task_id) },
    { title: 'Died', cell: (task) => ago(task.ended_at) },
    { title: 'Attempts', number: true, room: 'wide', cell: (task) => task.attempts.length },
    { title: 'Error history', grows: true, cell: history },
    {
      title: 'Actions',
      sticks: true,
      isHidden: !view.may('submit_tasks') && !view.may('admin'),
      cell: (task) => actions(view, task),
    },
  ];
}

/** Every attempt's error behind the last one. @param {Task} task */
function history(task) {
  const attempts = task.attempts.filter((attempt) => attempt.error);
  const head = firstLine(task.error ?? task.state_reason, LINE_CHARS_MAX);
  if (attempts.length === 0) return h('span', { class: 'error' }, head);
  return h(
    'details',
    { class: 'trace' },
    h('summary', null, head),
    attempts.map((attempt) =>
      h(
        'div',
        { key: attempt.fencing_token },
        h(
          'p',
          null,
          `Attempt ${attempt.number} `,
          outcomeBadge(attempt.outcome),
          ' ',
          ago(attempt.ended_at),
          h('span', { class: 'faint' }, ` on ${visible(attempt.worker_id)}`),
        ),
        still(
          'pre',
          { class: 'error', tabindex: '0' },
          String(attempt.fencing_token),
          () => attempt.error ?? '',
        ),
      ),
    ),
  );
}

/** @param {View} view @param {Task} task */
function actions(view, task) {
  const targets = { ids: [task.task_id], filter: {}, total: 1, noun: 'dead letter' };
  const act = (/** @type {'retry'|'delete'} */ action) => () =>
    void actOnTasks(action, targets, () => void view.reload());
  return h(
    'span',
    { class: 'actions' },
    view.may('submit_tasks')
      ? h('button', { type: 'button', class: 'small', 'data-test': 'retry', onclick: act('retry') }, 'Retry')
      : null,
    view.may('admin')
      ? h(
          'button',
          { type: 'button', class: 'small danger-quiet', 'data-test': 'delete', onclick: act('delete') },
          'Delete',
        )
      : null,
  );
}

/** @param {View} view @param {import('../app/types.js').TaskList} list @param {{trail: string[]}} state */
function pager(view, list, state) {
  const cursor = view.route.query.get('cursor');
  if (cursor === null && list.next_cursor === null) return null;
  const ahead = () => {
    state.trail.push(cursor ?? '');
    view.setQuery({ cursor: list.next_cursor });
  };
  return h(
    'nav',
    { class: 'pager', 'aria-label': 'Pages of the group' },
    h(
      'button',
      {
        type: 'button',
        disabled: cursor === null,
        onclick: () => view.setQuery({ cursor: state.trail.pop() ?? null }),
      },
      'Previous',
    ),
    h('button', { type: 'button', disabled: list.next_cursor === null, onclick: ahead }, 'Next'),
    h('span', { class: 'faint' }, `${count(list.tasks.length)} shown`),
  );
}
