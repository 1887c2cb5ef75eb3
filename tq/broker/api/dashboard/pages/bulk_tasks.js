/** @file Cancel, retry and delete many tasks: how many is said and asked before, and shown while it happens. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { things } from '../app/format.js';
import { STEP_TASKS, startBulk } from '../components/bulk.js';
import { ask } from '../components/dialog.js';

/** @typedef {import('../app/types.js').TaskFilter} TaskFilter */
/** @typedef {import('../app/types.js').BulkAction} BulkAction */
/** @typedef {import('../components/dialog.js').Field} Field */

const WORDS = /** @type {Record<BulkAction, {verb: string, now: string, done: string}>} */ ({
  cancel: { verb: 'Cancel', now: 'Cancelling', done: 'cancelled' },
  retry: { verb: 'Retry', now: 'Retrying', done: 'retried' },
  delete: { verb: 'Delete', now: 'Deleting', done: 'deleted' },
});

/** What the permission has to be. */
export const PERMISSIONS = /** @type {Record<BulkAction, import('../app/types.js').Permission>} */ ({
  cancel: 'cancel_tasks',
  retry: 'submit_tasks',
  delete: 'admin',
});

/**
 * @typedef {object} Targets ids, or everything that matches the filter
 * @property {string[]|null} ids
 * @property {TaskFilter} filter
 * @property {number} total
 * @property {string} noun `task`, `dead letter`
 * @property {string} [where] which they are, in words
 */

/**
 * Ask, then do it with progress. Returns whether it was begun.
 * @param {BulkAction} action
 * @param {Targets} targets
 * @param {() => void} after once it has ended
 */
export async function actOnTasks(action, targets, after) {
  const { verb, now, done } = WORDS[action];
  const what = things(targets.total, targets.noun);
  const values = await ask({
    title: `${verb} ${what}${targets.where ?? ''}?`,
    confirm: `${verb} ${what}`,
    isDanger: action !== 'retry',
    test: `bulk-${action}`,
    body: h('p', null, explanation(action, targets)),
    fields: action === 'retry' ? retryFields(targets.total) : [],
    ...(action === 'delete' && targets.ids === null ? { typed: String(targets.total) } : {}),
  });
  if (values === null) return false;
  const perSecond = Number(values['rate'] || 0);
  const retries = values['max_retries'] ?? '';
  startBulk({
    title: `${now} ${what}`,
    done,
    total: targets.total,
    perSecond: perSecond > 0 ? perSecond : null,
    step: stepper(action, targets, retries === '' ? null : Number(retries)),
    after,
  });
  return true;
}

/** @param {number} total @returns {Field[]} */
function retryFields(total) {
  return [
    {
      name: 'rate',
      label: 'Tasks a second',
      type: 'number',
      min: 0.1,
      max: 1000,
      value: total > STEP_TASKS ? '50' : '',
      hint: 'Empty: as quick as it goes. A rate spares what failed before.',
      half: true,
    },
    {
      name: 'max_retries',
      label: 'Retries each',
      type: 'number',
      min: 0,
      max: 1000,
      hint: 'Empty: as many as they had.',
      half: true,
    },
  ];
}

/** @param {BulkAction} action @param {Targets} targets */
function explanation(action, targets) {
  const all =
    targets.ids === null
      ? 'This goes for everything that matches while it runs, and so may be more than were counted. '
      : '';
  if (action === 'cancel')
    return `${all}Tasks that wait will not run; those that run are stopped. A cancelled task can be retried.`;
  if (action === 'retry' && targets.noun === 'dead letter')
    return `${all}They go back to their queues, their counters at zero.`;
  if (action === 'retry')
    return `${all}Dead letters and cancelled tasks go back to their queues, their counters at zero. Others are skipped.`;
  return `${all}Tasks that have ended are forgotten, with payload, result and history. This cannot be undone.`;
}

/**
 * @param {BulkAction} action
 * @param {Targets} targets
 * @param {number|null} retries
 * @returns {import('../components/bulk.js').Job['step']}
 */
function stepper(action, { ids, filter }, retries) {
  const more = {
    ...(action === 'cancel' ? { force: true } : {}),
    ...(retries === null ? {} : { max_retries: retries }),
  };
  // What is not filtered by is left out: an empty status is none.
  const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== ''));
  let at = 0;
  /** @type {string|null} */
  let cursor = null;
  return async (limit, signal) => {
    if (ids !== null) {
      const { done, skipped } = await calls.bulk(
        action,
        { task_ids: ids.slice(at, at + limit), ...more },
        signal,
      );
      at += limit;
      return { done, skipped, isOver: at >= ids.length };
    }
    const step = await calls.bulk(action, { filter: wanted, limit, cursor, ...more }, signal);
    cursor = step.next_cursor;
    return { done: step.done, skipped: step.skipped, isOver: cursor === null };
  };
}
