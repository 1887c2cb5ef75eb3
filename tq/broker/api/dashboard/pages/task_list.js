/**
 * @file Which tasks the list shows. The broker keeps tasks in the order of their creation only, so that a page costs the
 * same among a million as among ten; any other order is made here, over all that match where they are few enough to be
 * read, and over the rows of the page where they are not.
 */

import * as calls from '../app/calls.js';
import { count, duration } from '../app/format.js';
import { orderOf, ordersOf, sorted } from '../components/table.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').TaskFilter} TaskFilter */
/** @typedef {import('../components/table.js').Order} Order */

const PAGE_TASKS = 50;
/** So many tasks are sorted whole: what one call brings. */
const SORTED_MAX = 1_000;
/** Begins the cursor of a page within what was sorted here; the broker's own are numbers. */
const FROM = 'from-';
const EVERY_MS = 2_000;
/** Of a thousand tasks, which cost the broker as much as twenty pages. */
const SORTED_EVERY_MS = 15_000;

/** How tasks compare. */
const ORDERS = /** @type {Record<string, (task: Task) => string|number>} */ ({
  type: (task) => task.task_type,
  queue: (task) => task.queue,
  status: (task) => task.status,
  priority: (task) => task.priority,
  updated: (task) => task.updated_at,
  worker: (task) => task.worker_id ?? '',
});

/**
 * @typedef {object} Rows One page of the list. reach: what its order goes over.
 * @property {Task[]} tasks
 * @property {number} total how many match
 * @property {string|null} next the cursor of the page after it
 * @property {'broker'|'all'|'page'} reach
 */

/** What an address may ask for as `sort`. */
export const SORTS = ordersOf({ created: null, ...ORDERS });

/** The order an address asks for. @param {URLSearchParams} query @returns {Order} */
export function taskOrder(query) {
  const order = orderOf(query.get('sort'), '-created');
  return Object.hasOwn(ORDERS, order.by)
    ? order
    : { by: 'created', isDown: order.isDown || order.by !== 'created' };
}

/**
 * @param {URLSearchParams} query
 * @param {TaskFilter} filter
 * @param {AbortSignal} signal
 * @returns {Promise<Rows>}
 */
export async function readRows(query, filter, signal) {
  const order = taskOrder(query);
  const cursor = query.get('cursor') ?? '';
  const isOwn = cursor.startsWith(FROM);
  const isByCreation = order.by === 'created';
  const found = await calls.tasks(
    {
      ...filter,
      order: isByCreation && !order.isDown ? 'oldest' : '',
      limit: PAGE_TASKS,
      cursor: isOwn ? '' : cursor,
    },
    signal,
  );
  if (isByCreation) return { ...found, next: found.next_cursor, reach: 'broker' };
  if (found.total > SORTED_MAX) {
    return {
      ...found,
      tasks: sorted(found.tasks, order, ORDERS),
      next: found.next_cursor,
      reach: 'page',
    };
  }
  const isWhole = found.tasks.length === found.total;
  const all = isWhole ? found : await calls.tasks({ ...filter, limit: SORTED_MAX }, signal);
  return pageOf(all, order, isOwn ? Number(cursor.slice(FROM.length)) || 0 : 0);
}

/** @param {import('../app/types.js').TaskList} all @param {Order} order @param {number} from @returns {Rows} */
function pageOf(all, order, from) {
  const tasks = sorted(all.tasks, order, ORDERS);
  const end = from + PAGE_TASKS;
  return {
    tasks: tasks.slice(from, end),
    total: all.total,
    next: end < tasks.length ? `${FROM}${end}` : null,
    reach: 'all',
  };
}

/** What the order goes over, where that is not plain. @param {Rows} rows @param {Order} order @returns {string|null} */
export function reachOf(rows, order) {
  if (everyMs(rows) === SORTED_EVERY_MS)
    return `All ${count(rows.total)} sorted by ${order.by}; sorted anew every ${duration(SORTED_EVERY_MS)} while they change.`;
  if (rows.reach !== 'page') return null;
  return `Sorted by ${order.by} within this page: more than ${count(SORTED_MAX)} tasks match, and their pages go by creation. Filter further to sort all of them.`;
}

/** How often the list is read again. @param {Rows|null} rows */
export function everyMs(rows) {
  return rows?.reach === 'all' && rows.total > PAGE_TASKS ? SORTED_EVERY_MS : EVERY_MS;
}
