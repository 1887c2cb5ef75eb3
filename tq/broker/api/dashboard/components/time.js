/** @file Moments as ages that grow by themselves, with the exact time on hover. */

import { nowMs } from '../app/clock.js';
import { h } from '../app/dom.js';
import { duration } from '../app/format.js';

const TICK_MS = 1_000;
const exact = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: 'numeric',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});

/** `3 s ago`, `in 2m 5s`; never: a dash. @param {string|null|undefined} iso */
export function ago(iso) {
  if (!iso) return h('span', { class: 'faint' }, '–');
  return h('time', { datetime: iso, title: full(iso), 'data-age': true }, age(iso));
}

/** The age alone: `3 s`. @param {string|null|undefined} iso */
export function ageOf(iso) {
  return iso ? duration(Math.max(0, nowMs() - Date.parse(iso))) : '–';
}

/** The exact moment, with the age on hover. @param {string|null|undefined} iso */
export function moment(iso) {
  if (!iso) return h('span', { class: 'faint' }, '–');
  return h('time', { datetime: iso, title: iso }, full(iso));
}

/** @param {string} iso */
export function full(iso) {
  return exact.format(new Date(iso));
}

/** @param {string} iso */
function age(iso) {
  const ms = nowMs() - Date.parse(iso);
  if (Math.abs(ms) < 1000) return 'now';
  return ms < 0 ? `in ${duration(-ms)}` : `${coarse(ms)} ago`;
}

/** Tenths of a second would only flicker. @param {number} ms */
function coarse(ms) {
  return duration(ms < 60_000 ? Math.floor(ms / 1000) * 1000 : ms);
}

/** Let all ages of the document grow. */
export function startAges() {
  setInterval(() => {
    if (document.hidden) return;
    for (const node of document.querySelectorAll('time[data-age]')) {
      const iso = node.getAttribute('datetime') ?? '';
      const text = age(iso);
      if (node.textContent !== text) node.firstChild ? (node.firstChild.nodeValue = text) : node.append(text);
    }
  }, TICK_MS);
}
