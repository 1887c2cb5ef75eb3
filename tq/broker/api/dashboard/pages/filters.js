/** @file The filters of the lists. They live in the address, so a filtered list can be shared and reloaded. */

import { h } from '../app/dom.js';
import { meant, visible, words } from '../app/format.js';
import { taskOrder } from './task_list.js';

/** @typedef {import('../app/types.js').View} View */
/** @typedef {import('../components/table.js').Order} Order */

export const STATUSES = /** @type {const} */ ([
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
const ORDERS = /** @type {[string, string][]} */ ([
  ['', 'newest first'],
  ['created', 'oldest first'],
  ['-updated', 'last changed first'],
  ['-priority', 'highest priority first'],
]);
const NAMES = /** @type {const} */ (['status', 'task_type', 'queue']);
const OPTIONS_MAX = 200;
/** What the address says of a place within the list before: with another filter it is none. */
const ELSEWHERE = { cursor: null, group: null };

/** @param {View} view */
export function filterBar(view) {
  const { query } = view.route;
  const statuses = STATUSES.map((status) => /** @type {[string, string]} */ ([status, words(status)]));
  return h(
    'div',
    { class: 'filters', role: 'search', 'aria-label': 'Filter tasks', key: 'filters' },
    choice(view, 'status', 'Status', [['', 'any'], ...statuses]),
    ...kindFields(view),
    choice(view, 'sort', 'Order', orders(taskOrder(query))),
    clearButton(view),
  );
}

/** The filter of the dead letters. @param {View} view */
export function kindBar(view) {
  return h(
    'div',
    { class: 'filters', role: 'search', 'aria-label': 'Filter dead letters', key: 'filters' },
    ...kindFields(view),
    clearButton(view),
  );
}

/** Type and queue. @param {View} view @returns {HTMLElement[]} */
function kindFields(view) {
  const queues = (view.shared.stats?.queues ?? []).slice(0, OPTIONS_MAX).map((queue) => queue.queue);
  return [
    field(view, 'task_type', 'Type', null),
    field(view, 'queue', 'Queue', 'queues'),
    h(
      'datalist',
      { id: 'queues' },
      queues.map((queue) => h('option', { value: visible(queue) })),
    ),
  ];
}

/** Takes all filters away, where there are any. @param {View} view */
function clearButton(view) {
  if (!NAMES.some((name) => view.route.query.get(name))) return null;
  const clear = () => view.setQuery({ status: null, task_type: null, queue: null, ...ELSEWHERE });
  return h('button', { type: 'button', class: 'link', 'data-test': 'clear', onclick: clear }, 'Clear');
}

/** The orders worth choosing, and the one that the head of a column asked for. @param {Order} order */
function orders({ by, isDown }) {
  const value = isDown ? `-${by}` : by;
  return by === 'created' || ORDERS.some(([one]) => one === value)
    ? ORDERS
    : [...ORDERS, /** @type {[string, string]} */ ([value, `by ${by}`])];
}

/** Puts what was chosen into the address, and goes to the first page. @param {View} view @param {string} name */
function setter(view, name) {
  return (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLInputElement|HTMLSelectElement} */ (event.target);
    view.setQuery({ [name]: meant(value.trim()), ...ELSEWHERE });
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
    value: visible(view.route.query.get(name) ?? ''),
    placeholder: 'any',
    autocomplete: 'off',
    spellcheck: 'false',
    onchange: setter(view, name),
  });
  return h('label', null, h('span', null, text), input);
}
