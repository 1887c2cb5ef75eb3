/** @file What is left for a key that may not read: to submit, where it may. */

import { h } from '../app/dom.js';
import { nothing } from '../components/notice.js';
import { submitTask } from '../components/task_form.js';

/** @type {import('../app/types.js').Page<null, null>} */
export const locked = {
  name: 'locked',
  title: () => 'Nothing to read',
  state: () => null,
  everyMs: Infinity,
  load: async () => null,
  draw: (view) => [
    h('h1', null, 'This key may not read'),
    nothing(
      `${view.shared.me?.name ?? 'It'} lacks the permission read_tasks`,
      view.may('submit_tasks') ? 'It may submit tasks, though.' : 'Forget it, and give another one.',
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

async function submit() {
  await submitTask({ suggestions: { types: [], queues: ['default'] } });
}
