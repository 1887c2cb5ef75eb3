/** @file What stands in place of, or above, a page's content: an error, a warning, nothing found, not yet there. */

import { ApiError } from '../app/api.js';
import { h } from '../app/dom.js';
import { icon } from './icon.js';

/** @typedef {import('../app/dom.js').Children} Children */

/** @param {unknown} error @param {() => void} again @returns {HTMLElement} */
export function errorNotice(error, again) {
  return h(
    'div',
    { class: 'notice bad', role: 'alert', key: 'error', 'data-test': 'error' },
    icon('alert'),
    h('p', null, explain(error)),
    h('button', { type: 'button', class: 'small', onclick: again }, 'Try again'),
  );
}

/** One sentence for the visitor. @param {unknown} error */
export function explain(error) {
  if (!(error instanceof ApiError))
    return error instanceof Error ? error.message : `Something went wrong in this page: ${error}`;
  if (error.status === 403) return `Not with this key: ${error.message}.`;
  if (error.outcome === 'unknown')
    return `${error.message} It may have happened all the same; look before you try again.`;
  return error.message;
}

/**
 * A line that wants to be seen. kind: `bad`, `warn` or `info`.
 * @param {'bad'|'warn'|'info'} kind
 * @param {string} key
 * @param {...Children} content
 */
export function notice(kind, key, ...content) {
  return h(
    'div',
    { class: `notice ${kind}`, key, 'data-test': `notice-${key}` },
    icon(kind === 'info' ? 'info' : 'alert'),
    h('p', null, ...content),
  );
}

/** There is nothing to show, and why. @param {string} title @param {...Children} more */
export function nothing(title, ...more) {
  return h(
    'div',
    { class: 'nothing', 'data-test': 'nothing' },
    h('strong', null, title),
    h('p', null, ...more),
  );
}

/** In place of a page that cannot be read while the cluster has no leader. */
export function leaderlessNotice() {
  return [
    h(
      'div',
      { class: 'nothing', key: 'leaderless', 'data-test': 'unreadable' },
      h('strong', null, 'Not known while there is no leader'),
      h(
        'p',
        null,
        'This page is read as soon as a majority of the nodes is back. ',
        h('a', { href: '/cluster', 'data-link': true }, 'The nodes'),
      ),
    ),
  ];
}

/** Until the first answer: grey bars where the content will be. */
export function loading() {
  return [
    h(
      'div',
      { class: 'loading', key: 'loading', 'aria-hidden': 'true' },
      h('i', { class: 'a' }),
      h('i', { class: 'b' }),
      h('i', { class: 'c' }),
    ),
    h('p', { class: 'unseen', key: 'loading-text' }, 'Loading'),
  ];
}
