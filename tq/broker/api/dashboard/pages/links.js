/** @file Links from one thing to the page that tells of it. */

import { h } from '../app/dom.js';
import { visible } from '../app/format.js';
import { address } from '../app/router.js';

/** Enough of the id to tell it from its neighbours: ids begin with the time, so the end differs. @param {string} id */
export function taskLink(id) {
  return h(
    'a',
    { class: 'id', href: `/tasks/${id}`, 'data-link': true, title: id },
    h('span', { class: 'wide' }, id.slice(0, 8)),
    `…${id.slice(-6)}`,
  );
}

const IDS = /([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/;

/** A text with the ids of tasks in it as links. @param {string} text @returns {(string|Node)[]} */
export function withLinks(text) {
  return text.split(IDS).map((part, at) => (at % 2 === 1 ? taskLink(part) : part));
}

/** @param {string} type */
export function typeLink(type) {
  return h(
    'a',
    { class: 'name', href: address('/tasks', { task_type: type }), 'data-link': true, title: visible(type) },
    visible(type),
  );
}

/** @param {string} queue */
export function queueLink(queue) {
  return h(
    'a',
    { class: 'name', href: address('/tasks', { queue }), 'data-link': true, title: visible(queue) },
    visible(queue),
  );
}

/** @param {string|null} worker */
export function workerLink(worker) {
  if (worker === null || worker === '') return h('span', { class: 'faint' }, '–');
  return h(
    'a',
    { class: 'name', href: address('/workers', { worker }), 'data-link': true, title: visible(worker) },
    visible(worker),
  );
}

const NAMES_MAX = 4;

/** The first few names, the others on hover. @param {string[]} all */
export function names(all) {
  const shown = all.map(visible);
  const rest = all.length - NAMES_MAX;
  return h(
    'span',
    { class: 'names', title: shown.join(', ') },
    shown.slice(0, NAMES_MAX).join(', '),
    rest > 0 ? ` and ${rest} more` : null,
  );
}
