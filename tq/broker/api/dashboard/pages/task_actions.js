/** @file What can be done with one task: cancel, retry, clone. Each is asked for before it happens. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { ask } from '../components/dialog.js';
import { submitTask } from '../components/task_form.js';
import { toast, toastError } from '../components/toast.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').View} View */

/** The statuses after which nothing happens by itself. */
export const ENDED = new Set(['completed', 'dead_letter', 'cancelled', 'expired']);

/** @param {View} view @param {Task} found */
export async function cancel(view, found) {
  const runs = found.status === 'in_progress';
  const body = h(
    'p',
    null,
    runs
      ? 'It runs now. Its handler is told to stop; what it has done so far stays done.'
      : 'It will not run. A cancelled task can be retried.',
  );
  const act = () => calls.cancel(found.task_id, runs);
  if (
    (await ask({ title: 'Cancel this task?', confirm: 'Cancel the task', isDanger: true, body, act })) ===
    null
  )
    return;
  toast('Cancelled');
  void view.reload();
}

/** @param {View} view @param {Task} found */
export async function retry(view, found) {
  const values = await ask({
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
