/** @file Short messages that something was done, read out by screen readers, gone after a while. */

import { byId, h } from '../app/dom.js';
import { explain } from './notice.js';
import { icon } from './icon.js';

const SHOWN_MS = 6_000;
const TOASTS_MAX = 4;

/** @param {string} text @param {{href?: string, link?: string, isBad?: boolean}} [more] */
export function toast(text, more = {}) {
  const region = byId('toasts');
  const node = h(
    'div',
    { class: more.isBad ? 'toast bad' : 'toast', 'data-test': 'toast' },
    icon(more.isBad ? 'alert' : 'check'),
    h('span', null, text),
    more.href === undefined ? null : h('a', { href: more.href, 'data-link': true }, more.link ?? 'Show'),
    h(
      'button',
      { type: 'button', class: 'plain', 'aria-label': 'Dismiss', onclick: () => node.remove() },
      icon('close'),
    ),
  );
  region.append(node);
  while (region.childElementCount > TOASTS_MAX) region.firstElementChild?.remove();
  // An error stays until it is dismissed or pushed out.
  if (!more.isBad) setTimeout(() => node.remove(), SHOWN_MS);
}

/** @param {unknown} error */
export function toastError(error) {
  toast(explain(error), { isBad: true });
}
