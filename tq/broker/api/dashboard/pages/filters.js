/** @file The filters of the task list. They live in the address, so a filtered list can be shared and reloaded. */

import { h } from '../app/dom.js';
import { words } from '../app/format.js';

/** @typedef {import('../app/types.js').View} View */

const STATUSES = /** @type {const} */ ([
  'pending',
  'in_progress',
  'scheduled',
  'blocked',
  'failed',
  'completed',
  'dead_letter',
  'cancelled',
  'expired',
]);
const NAMES = /** @type {const} */ (['status', 'task_type', 'queue']);
const OPTIONS_MAX = 200;

/** @param {View} view */
export function filterBar(view) {
  const { query } = view.route;
  const queues = (view.shared.stats?.queues ?? []).slice(0, OPTIONS_MAX).map((queue) => queue.queue);
  const statuses = STATUSES.map((status) => /** @type {[string, string]} */ ([status, words(status)]));
  const clear = () => view.setQuery({ status: null, task_type: null, queue: null, cursor: null });
  return h(
    'div',
    { class: 'filters', role: 'search', 'aria-label': 'Filter tasks', key: 'filters' },
    choice(view, 'status', 'Status', [['', 'any'], ...statuses]),
    field(view, 'task_type', 'Type', null),
    field(view, 'queue', 'Queue', 'queues'),
    h(
      'datalist',
      { id: 'queues' },
      queues.map((queue) => h('option', { value: queue })),
    ),
    choice(view, 'sort', 'Order', [
      ['', 'newest first'],
      ['created', 'oldest first'],
    ]),
    NAMES.some((name) => query.get(name))
      ? h('button', { type: 'button', class: 'link', 'data-test': 'clear', onclick: clear }, 'Clear')
      : null,
  );
}

/** Puts what was chosen into the address, and goes to the first page. @param {View} view @param {string} name */
function setter(view, name) {
  return (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLInputElement|HTMLSelectElement} */ (event.target);
    view.setQuery({ [name]: value.trim(), cursor: null });
  };
}

/** @param {View} view @param {string} name @param {string} text @param {[string, string][]} options */
function choice(view, name, text, options) {
  const chosen = view.route.query.get(name) ?? '';
  const found = options.some(([value]) => value === chosen) ? chosen : '';
  const lines = options.map(([value, word]) => h('option', { value, selected: value === found }, word));
  return h('label', null, h('span', null, text), h('select', { name, onchange: setter(view, name) }, lines));
}

/** @param {View} view @param {string} name @param {string} text @param {string|null} list of suggestions */
function field(view, name, text, list) {
  const input = h('input', {
    name,
    list,
    type: 'search',
    value: view.route.query.get(name) ?? '',
    placeholder: 'any',
    autocomplete: 'off',
    spellcheck: 'false',
    onchange: setter(view, name),
  });
  return h('label', null, h('span', null, text), input);
}
