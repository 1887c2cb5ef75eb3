/** @file One task: what it is, why it does not run, what was tried, what it carries; cancel, retry, clone. */

import { ApiError } from '../app/api.js';
import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { visible } from '../app/format.js';
import { eventSocket } from '../app/live.js';
import { badge } from '../components/badge.js';
import { icon } from '../components/icon.js';
import { nothing } from '../components/notice.js';
import { fromBase64, payloadView, SMALL_BYTES } from '../components/payload.js';
import { timeline } from '../components/timeline.js';
import { toastError } from '../components/toast.js';
import { withLinks } from './links.js';
import { ENDED, canCancel, cancel, canRetry, clone, retry, takeBack } from './task_actions.js';
import { facts } from './task_facts.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {{data: Uint8Array|null, choice: {form: import('../components/payload.js').Form|null}}} Part */
/** @typedef {{payload: Part, result: Part, isEnded: boolean, socket: WebSocket|null} & import('./task_actions.js').Asked} State */

const EVERY_MS = 2_000;

/** @type {import('../app/types.js').Page<Task|null, State>} */
export const task = {
  name: 'task',
  heading: 'Task',
  asks: {},
  title: ({ params }) => `Task ${params[0]?.slice(0, 8)}`,
  state: () => ({ payload: part(), result: part(), isEnded: false, socket: null, asking: null }),
  everyMs: EVERY_MS,
  load,
  draw,
  open: (_view, state) => () => state.socket?.close(),
};

/** @returns {Part} */
const part = () => ({ data: null, choice: { form: null } });

/** @param {View} view */
const idOf = (view) => view.route.params[0] ?? '';

/**
 * Hear of a live task at once, where the shared feed only tells that something happened. A socket that was cut is made
 * anew with the next reading.
 * @param {View} view
 * @param {State} state
 */
function listen(view, state) {
  const isOpen = state.socket !== null && state.socket.readyState <= WebSocket.OPEN;
  if (isOpen || state.isEnded || view.signal.aborted) return;
  state.socket = eventSocket(`?types=task_update&task_ids=${encodeURIComponent(idOf(view))}`);
  state.socket.onmessage = () => void view.reload();
}

/** @param {View} view @param {State} state */
async function load(view, state) {
  const found = await calls.task(idOf(view), {}, view.signal).catch((error) => {
    if (error instanceof ApiError && (error.status === 404 || error.status === 400)) return null;
    throw error;
  });
  if (found === null) return null;
  takeBack(state, found);
  const isEnded = ENDED.has(found.status);
  if (state.isEnded && !isEnded) state.result.data = null;
  state.isEnded = isEnded;
  listen(view, state);
  const payloadBytes = found.payload_bytes ?? 0;
  const wantsPayload = state.payload.data === null && payloadBytes > 0 && payloadBytes <= SMALL_BYTES;
  const resultBytes = found.result_bytes ?? 0;
  const wantsResult = state.result.data === null && resultBytes > 0 && resultBytes <= SMALL_BYTES;
  if (wantsPayload || wantsResult)
    await fetchParts(view, state, { with_payload: wantsPayload, with_result: wantsResult });
  return found;
}

/** @param {View} view @param {State} state @param {{with_payload?: boolean, with_result?: boolean}} parts */
async function fetchParts(view, state, parts) {
  const found = await calls.task(idOf(view), parts, view.signal);
  if (parts.with_payload && found.payload !== null) state.payload.data = fromBase64(found.payload);
  if (parts.with_result && found.result !== null) state.result.data = fromBase64(found.result);
}

/** @param {View} view @param {Task|null} found @param {State} state */
function draw(view, found, state) {
  if (found === null) {
    return [
      h('h1', null, 'No such task'),
      nothing(
        `There is no task ${idOf(view)}`,
        'It was never submitted, or its retention is over. ',
        h('a', { href: '/tasks', 'data-link': true }, 'All tasks'),
      ),
    ];
  }
  return [
    head(view, found, state),
    reason(found),
    h(
      'div',
      { class: 'columns', key: 'columns' },
      h('div', null, parts(view, found, state), timeline(found)),
      facts(found),
    ),
  ];
}

/** @param {View} view @param {Task} found @param {State} state */
function head(view, found, state) {
  const offersCancel = canCancel(found.status) && view.may('cancel_tasks');
  const offersRetry = canRetry(found.status) && view.may('submit_tasks');
  return h(
    'header',
    { class: 'page-head', key: 'head' },
    h(
      'div',
      { class: 'titles' },
      h('h1', { title: visible(found.task_type) }, visible(found.task_type)),
      badge(found.status),
      h('p', { class: 'faint' }, h('code', { 'data-test': 'task-id' }, found.task_id)),
    ),
    offersCancel
      ? h(
          'button',
          {
            type: 'button',
            class: 'danger-quiet',
            'data-test': 'cancel',
            onclick: () => void cancel(view, found, state),
          },
          'Cancel',
        )
      : null,
    offersRetry
      ? h(
          'button',
          {
            type: 'button',
            class: 'primary',
            'data-test': 'retry',
            onclick: () => void retry(view, found, state),
          },
          icon('retry'),
          'Retry',
        )
      : null,
    view.may('submit_tasks')
      ? h('button', { type: 'button', 'data-test': 'clone', onclick: () => void clone(found) }, 'Clone')
      : null,
  );
}

/** @param {Task} found */
function reason(found) {
  if (found.status === 'completed') return h('span', { key: 'no-why' });
  const title = ENDED.has(found.status)
    ? 'How it ended'
    : found.status === 'in_progress'
      ? 'What it is doing'
      : 'Why it is not running';
  return h(
    'section',
    { class: 'why', 'data-kind': found.status, 'aria-label': title, key: 'why' },
    h('strong', null, title),
    h('p', { 'data-test': 'why' }, withLinks(found.state_reason)),
    found.progress === null
      ? null
      : [
          h('progress', { max: 1, value: found.progress.fraction, 'aria-label': 'Progress' }),
          h('p', { class: 'faint' }, found.progress.text),
        ],
  );
}

/** @param {View} view @param {Task} found @param {State} state */
function parts(view, found, state) {
  const shown = (/** @type {'payload'|'result'} */ name, /** @type {number} */ length) => {
    const fetch = () =>
      void fetchParts(view, state, { [`with_${name}`]: true }).then(view.redraw, toastError);
    return payloadView({ name, ...state[name], length, redraw: view.redraw, fetch });
  };
  return [
    h(
      'section',
      { 'aria-labelledby': 'payload-title', key: 'payload' },
      h('h2', { id: 'payload-title' }, 'Payload'),
      shown('payload', found.payload_bytes ?? 0),
    ),
    found.status === 'completed'
      ? h(
          'section',
          { 'aria-labelledby': 'result-title', key: 'result' },
          h('h2', { id: 'result-title' }, 'Result'),
          shown('result', found.result_bytes ?? 0),
        )
      : null,
  ].filter((node) => node !== null);
}
