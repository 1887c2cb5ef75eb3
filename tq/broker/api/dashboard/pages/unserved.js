/** @file Types that wait and that no connected worker serves: how many, and the first of them. The same on every page. */

import { h } from '../app/dom.js';
import { clipped, count, things, visible } from '../app/format.js';
import { address } from '../app/router.js';

const SHOWN_MAX = 8;
const NAME_CHARS_MAX = 60;

/** @typedef {import('../app/types.js').Queue} Queue */

/**
 * One sentence; null when all that waits is served. How many tasks wait of a type is said where it is known: the list of
 * queues tells it of each queue's largest types, the numbers of the feed do not.
 * @param {Queue[]} queues
 * @returns {import('../app/dom.js').Child[]|null}
 */
export function unserved(queues) {
  const all = queues.flatMap((queue) => queue.unserved.map((type) => ({ queue, type })));
  if (all.length === 0) return null;
  const rest = all.length - SHOWN_MAX;
  return [
    'No connected worker serves ',
    all.length === 1 ? null : `${things(all.length, 'type')} of which tasks wait: `,
    ...all
      .slice(0, SHOWN_MAX)
      .flatMap(({ queue, type }, at) => [at === 0 ? null : '; ', ...one(queue, type)]),
    rest > 0 ? `; and ${count(rest)} more.` : '.',
  ];
}

/** @param {Queue} queue @param {string} type @returns {import('../app/dom.js').Child[]} */
function one(queue, type) {
  const href = address('/tasks', { status: 'pending', task_type: type, queue: queue.queue });
  const known = queue.task_types?.find((found) => found.task_type === type);
  const waiting = known === undefined ? '' : ` (${things(known.pending, 'task waits', 'tasks wait')})`;
  return [
    h('a', { href, 'data-link': true, title: visible(type) }, clipped(visible(type), NAME_CHARS_MAX)),
    ' on queue ',
    h('bdi', { title: visible(queue.queue) }, clipped(visible(queue.queue), NAME_CHARS_MAX)),
    waiting,
  ];
}
