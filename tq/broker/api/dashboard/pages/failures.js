/** @file The latest failed attempts, whatever the age of their tasks. */

import { h } from '../app/dom.js';
import { firstLine } from '../app/format.js';
import { badge, outcomeBadge } from '../components/badge.js';
import { nothing } from '../components/notice.js';
import { dataTable } from '../components/table.js';
import { ago } from '../components/time.js';
import { queueLink, taskLink, typeLink, workerLink } from './links.js';

const ERROR_CHARS_MAX = 200;

/** @typedef {import('../app/types.js').Failure} Failure */

/** @param {Failure[]} failures */
export function failureTable(failures) {
  return dataTable(
    /** @type {import('../components/table.js').Table<Failure>} */ ({
      name: 'failures',
      caption: 'The latest failed attempts',
      id: (row) => `${row.task_id}-${row.attempt}-${row.at}`,
      rows: failures,
      empty: nothing('Nothing has failed', 'Failed attempts will stand here as they happen.'),
      columns: [
        { title: 'When', cell: (row) => ago(row.at) },
        { title: 'Type', cell: (row) => typeLink(row.task_type) },
        { title: 'Outcome', cell: (row) => outcomeBadge(row.outcome) },
        {
          title: 'Error',
          grows: true,
          cell: (row) =>
            h('span', { class: 'error', title: row.error }, firstLine(row.error, ERROR_CHARS_MAX) || '–'),
        },
        { title: 'Attempt', number: true, room: 'wide', cell: (row) => row.attempt },
        { title: 'Then', room: 'wide', cell: (row) => badge(row.status) },
        { title: 'Queue', room: 'wider', cell: (row) => queueLink(row.queue) },
        { title: 'Worker', room: 'wider', cell: (row) => workerLink(row.worker_id) },
        { title: 'Task', isHead: true, cell: (row) => taskLink(row.task_id) },
      ],
    }),
  );
}
