/**
 * @file Whether what an address asks of a list can be. What cannot is named and nothing is listed: a filter that was left
 * out in silence would show everything, under buttons that act on everything.
 */

import { h } from '../app/dom.js';
import { visible } from '../app/format.js';
import { notice } from './notice.js';

const NAME_CHARS_MAX = 255;
const SHOWN_CHARS_MAX = 60;
const CONTROLS = /[\x00-\x1f\x7f-\x9f]/;

/** @typedef {import('../app/types.js').View} View */
/** @typedef {(value: string) => string|null} Check what is wrong with a value */

/** A type or a queue. @type {Check} */
export function aName(value) {
  if (value.length > NAME_CHARS_MAX) return `is longer than ${NAME_CHARS_MAX} characters`;
  return CONTROLS.test(value) ? 'has control characters in it' : null;
}

/** One of these. @param {readonly string[]} values @returns {Check} */
export function oneOf(values) {
  return (value) => (values.includes(value) ? null : `is none of ${values.join(', ')}`);
}

/** What looks like this. @param {RegExp} pattern @param {string} what @returns {Check} */
export function matching(pattern, what) {
  return (value) => (pattern.test(value) ? null : `is no ${what}`);
}

/**
 * A sentence for each parameter that cannot be.
 * @param {URLSearchParams} query
 * @param {Record<string, Check>} known
 */
export function faultsOf(query, known) {
  return [...new Set(query.keys())].flatMap((name) => {
    const values = query.getAll(name);
    const check = Object.hasOwn(known, name) ? known[name] : undefined;
    if (check === undefined) return [`${quoted(name)} is not known here; ${list(Object.keys(known))}.`];
    if (values.length > 1) return [`${name} is given ${values.length} times; one can be shown.`];
    const value = values[0] ?? '';
    const fault = value === '' ? null : check(value);
    return fault === null ? [] : [`${name} ${quoted(value)} ${fault}.`];
  });
}

/** @param {string[]} names */
function list(names) {
  return names.length === 0 ? 'this page is asked for nothing' : `known are ${names.join(', ')}`;
}

/** The faults, with a way to be rid of them. @param {View} view @param {string[]} faults */
export function faultNotice(view, faults) {
  const names = [...view.route.query.keys()];
  const clear = () => view.setQuery(Object.fromEntries(names.map((name) => [name, null])));
  return notice(
    'bad',
    'asked',
    `Nothing is shown: ${faults.join(' ')} `,
    h('button', { type: 'button', class: 'link', 'data-test': 'clear-asked', onclick: clear }, 'Clear'),
  );
}

/** @param {string} text */
function quoted(text) {
  return `\u201c${visible(text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}\u2026` : text)}\u201d`;
}
