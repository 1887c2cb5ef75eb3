/** @file How a status and an outcome look: a mark and a word, so that colour is never all there is. */

import { h } from '../app/dom.js';
import { words } from '../app/format.js';

/** What happened to an attempt, with how bad that is. */
const OUTCOME_KINDS = /** @type {Record<string, string>} */ ({
  done: 'completed',
  error: 'failed',
  timeout: 'failed',
  fatal: 'dead_letter',
  crash: 'dead_letter',
  lease_lost: 'blocked',
  released: 'cancelled',
  cancelled: 'cancelled',
  snoozed: 'scheduled',
});

/** @param {string} status a task's, a worker's or a node's */
export function badge(status) {
  return h('span', { class: 'badge', 'data-kind': status, 'data-status': status }, words(status));
}

/** @param {string|null} outcome of an attempt; null = it runs */
export function outcomeBadge(outcome) {
  if (outcome === null) return badge('in_progress');
  return h('span', { class: 'badge', 'data-kind': OUTCOME_KINDS[outcome] ?? 'cancelled' }, words(outcome));
}

/** A text in the quiet type of ids and names. @param {string} text @param {string} [title] */
export function mono(text, title) {
  return h('code', { title: title ?? null }, text);
}
