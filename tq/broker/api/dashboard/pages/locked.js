/** @file What is left for a key that may not read: to submit, where it may. */

import { h } from '../app/dom.js';
import { nothing } from '../components/notice.js';
import { submitTask } from '../components/task_form.js';

/** @type {import('../app/types.js').Page<null, null>} */
export const locked = {
  name: 'locked',
  heading: 'Nothing to read',
  title: () => 'Nothing to read',
  state: () => null,
  everyMs: Infinity,
  load: async () => null,
  draw: (view) => [
    h('h1', null, 'This key may not read'),
    nothing(
      `${view.shared.me?.name ?? 'It'} lacks the permission read_tasks`,
      allowed(view.shared.me?.permissions ?? []),
    ),
    view.may('submit_tasks')
      ? h(
          'button',
          { type: 'button', class: 'primary', 'data-test': 'submit', onclick: () => void submit() },
          'Submit a task',
        )
      : h('span', null),
  ],
};

const WORDS = {
  read_tasks: 'read',
  submit_tasks: 'submit and retry tasks',
  cancel_tasks: 'cancel tasks',
  work_tasks: 'work as a worker',
  admin: 'do everything',
};

/** What it may do instead. @param {import('../app/types.js').Permission[]} permissions */
function allowed(permissions) {
  return permissions.length === 0
    ? 'It may do nothing. Forget it, and give another one.'
    : `It may ${permissions.map((one) => WORDS[one]).join(', ')}, and no page can be read with it.`;
}

async function submit() {
  await submitTask({ suggestions: { types: [], queues: ['default'] } });
}
