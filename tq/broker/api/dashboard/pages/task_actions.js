/** @file What can be done with one task: cancel, retry, clone. Each is asked for before it happens. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { words } from '../app/format.js';
import { ask } from '../components/dialog.js';
import { submitTask } from '../components/task_form.js';
import { toast, toastError } from '../components/toast.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {import('../components/dialog.js').Question} Question */

/** The statuses after which nothing happens by itself. */
export const ENDED = new Set(['completed', 'dead_letter', 'cancelled', 'expired']);

/**
 * A question about a task that is open, and holds while the task's status is one of these.
 * @typedef {{isOpen: (status: string) => boolean, over: AbortController}} Asking
 * @typedef {{asking: Asking|null}} Asked
 */

/** Ask, for as long as the answer can change anything. @param {Asked} asked @param {(status: string) => boolean} isOpen @param {Question} question */
async function askWhile(asked, isOpen, question) {
  const over = new AbortController();
  asked.asking = { isOpen, over };
  const values = await ask({ ...question, until: over.signal });
  asked.asking = null;
  return values;
}

/** The task was read: a question that is moot is taken back. @param {Asked} asked @param {Task} found */
export function takeBack({ asking }, { status }) {
  if (asking === null || asking.isOpen(status)) return;
  asking.over.abort();
  toast(`The task is ${words(status)} now: nothing was done`);
}

/** @param {string} status */
export const canCancel = (status) => !ENDED.has(status);
/** @param {string} status */
export const canRetry = (status) => status === 'dead_letter' || status === 'cancelled';

/** @param {View} view @param {Task} found @param {Asked} asked */
export async function cancel(view, found, asked) {
  const runs = found.status === 'in_progress';
  const body = h(
    'p',
    null,
    runs
      ? 'It runs now. Its handler is told to stop; what it has done so far stays done.'
      : 'It will not run; if it has begun by then, its handler is told to stop. A cancelled task can be retried.',
  );
  const act = () => calls.cancel(found.task_id, true);
  const question = { title: 'Cancel this task?', confirm: 'Cancel the task', isDanger: true, body, act };
  if ((await askWhile(asked, canCancel, question)) === null) return;
  toast('Cancelled');
  void view.reload();
}

/** @param {View} view @param {Task} found @param {Asked} asked */
export async function retry(view, found, asked) {
  const values = await askWhile(asked, canRetry, {
    title: 'Retry this task?',
    confirm: 'Retry the task',
    body: h('p', null, 'It goes back to its queue, its counters at zero.'),
    fields: [
      {
        name: 'max_retries',
        label: 'Retries',
        type: 'number',
        min: 0,
        max: 1000,
        value: String(found.max_retries),
      },
    ],
    act: async (given) =>
      void (await calls.retry(found.task_id, given['max_retries'] ? Number(given['max_retries']) : null)),
  });
  if (values === null) return;
  toast('Back in its queue');
  void view.reload();
}

/** @param {Task} found */
export async function clone(found) {
  try {
    const like = await calls.task(found.task_id, { with_payload: true });
    await submitTask({ suggestions: { types: [found.task_type], queues: [found.queue] }, like });
  } catch (error) {
    toastError(error);
  }
}
