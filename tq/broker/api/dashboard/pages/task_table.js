/** @file Tasks as a table, the same wherever tasks are listed. */

import { h } from '../app/dom.js';
import { firstLine, visible } from '../app/format.js';
import { badge } from '../components/badge.js';
import { dataTable } from '../components/table.js';
import { ago } from '../components/time.js';
import { queueLink, taskLink, typeLink, workerLink } from './links.js';

const REASON_CHARS_MAX = 160;
const LIVE = new Set(['pending', 'scheduled', 'blocked', 'failed']);

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../components/table.js').Table<Task>} TaskTable */
/** @typedef {import('../components/table.js').Column<Task>} TaskColumn */

/**
 * @param {Omit<TaskTable, 'columns'|'id'|'label'> & {without?: string[], more?: TaskColumn[]}} table without: titles of
 *   columns to leave out; more: columns at the end
 */
export function taskTable({ without = [], more = [], ...table }) {
  /** @type {TaskColumn[]} */
  const columns = [
    { title: 'ID', isHead: true, cell: (task) => taskLink(task.task_id) },
    { title: 'Type', sort: 'type', cell: (task) => typeLink(task.task_type) },
    { title: 'Queue', sort: 'queue', room: 'wide', cell: (task) => queueLink(task.queue) },
    { title: 'Status', sort: 'status', cell: (task) => badge(task.status) },
    { title: 'Reason', grows: true, room: 'wider', cell: reason },
    { title: 'Priority', sort: 'priority', number: true, room: 'wide', cell: (task) => task.priority },
    { title: 'Created', sort: 'created', cell: (task) => ago(task.created_at) },
    { title: 'Updated', sort: 'updated', room: 'wide', cell: (task) => ago(task.updated_at) },
    { title: 'Worker', sort: 'worker', room: 'wide', cell: (task) => workerLink(task.worker_id) },
  ];
  return dataTable({
    ...table,
    id: (task) => task.task_id,
    label: (task) => `${visible(task.task_type)} ${task.task_id}`,
    columns: [...columns.filter((column) => !without.includes(column.title)), ...more],
  });
}

/** Why it waits, or what went wrong. @param {Task} task */
function reason(task) {
  const text = LIVE.has(task.status) ? task.state_reason : (task.error ?? '');
  return h(
    'span',
    { class: LIVE.has(task.status) ? 'faint' : 'error', title: text || null },
    firstLine(text, REASON_CHARS_MAX),
  );
}
