/**
 * @file One task's life: a bar to scale of waiting and running, and under it each attempt with who ran it, how it ended
 * and the traceback.
 */

import { nowMs } from '../app/clock.js';
import { h, s, still } from '../app/dom.js';
import { duration, firstLine, visible, words } from '../app/format.js';
import { outcomeBadge } from './badge.js';
import { ago } from './time.js';

const WIDTH = 1000;
const HEIGHT = 22;
/** So that an attempt of a millisecond in a life of a day can still be seen. */
const WIDTH_MIN = 4;
const NEXT = /** @type {Record<string, string|undefined>} */ ({
  pending: 'Waits for a worker',
  blocked: 'Waits for other tasks',
  scheduled: 'Due',
  failed: 'Next attempt',
});

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('../app/types.js').Attempt} Attempt */

/** @param {Task} task @returns {HTMLElement} */
export function timeline(task) {
  return h(
    'section',
    { class: 'timeline', 'aria-labelledby': 'timeline-title' },
    h('h2', { id: 'timeline-title' }, 'Timeline'),
    scale(task),
    h(
      'ol',
      { class: 'events', 'data-test': 'attempts' },
      first(task),
      task.attempts.flatMap((attempt, at) => entry(task, attempt, at)),
      last(task),
    ),
  );
}

/** @param {Task} task */
function scale(task) {
  const start = Date.parse(task.created_at);
  const end = Math.max(start + 1, task.ended_at === null ? nowMs() : Date.parse(task.ended_at));
  const x = (/** @type {number} */ ms) =>
    Math.min(WIDTH, Math.max(0, ((ms - start) / (end - start)) * WIDTH));
  return h(
    'div',
    { class: 'scale' },
    s(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-label': spoken(task, end - start),
      },
      s('rect', { class: 'wait', x: 0, y: HEIGHT / 2 - 2, width: WIDTH, height: 4 }),
      task.attempts.map((attempt) => {
        const from = attempt.started_at === null ? start : Date.parse(attempt.started_at);
        const to = attempt.ended_at === null ? end : Date.parse(attempt.ended_at);
        const width = Math.max(WIDTH_MIN, x(to) - x(from));
        return s('rect', {
          class: `run ${attempt.outcome ?? 'running'}`,
          x: Math.min(x(from), WIDTH - width),
          y: 2,
          width,
          height: HEIGHT - 4,
          rx: 2,
        });
      }),
    ),
    h(
      'div',
      { class: 'axis', 'aria-hidden': 'true' },
      h('span', null, 'submitted'),
      h('span', null, `${duration(end - start)} in all`),
      h('span', null, task.ended_at === null ? 'now' : words(task.status)),
    ),
  );
}

/** @param {Task} task @param {number} ms */
function spoken(task, ms) {
  return `${task.attempts.length} attempts within ${duration(ms)}; listed below`;
}

/** @param {Task} task */
function first(task) {
  const waited = task.attempts[0]?.number === 1 ? task.attempts[0].started_at : null;
  return h(
    'li',
    { class: 'quiet', key: 'submitted' },
    h('header', null, h('strong', null, 'Submitted'), ago(task.created_at)),
    h(
      'p',
      null,
      task.schedule_at !== null && task.attempts.length === 0
        ? ['due ', ago(task.schedule_at)]
        : waited === null
          ? null
          : `waited ${between(task.created_at, waited)}`,
    ),
  );
}

/** @param {Task} task @param {Attempt} attempt @param {number} at @returns {(Node|null)[]} */
function entry(task, attempt, at) {
  const isLast = at === task.attempts.length - 1;
  const before = task.attempts[at - 1];
  const isFirstShown = before === undefined && attempt.number > 1;
  return [
    isFirstShown
      ? h(
          'li',
          { class: 'quiet', key: 'earlier' },
          h('p', null, `${attempt.number - 1} earlier attempts are not kept`),
        )
      : null,
    h(
      'li',
      {
        key: `attempt-${attempt.number}-${attempt.fencing_token}`,
        class: `attempt ${attempt.outcome ?? 'running'}`,
        'data-test': 'attempt',
        'data-outcome': attempt.outcome,
      },
      h(
        'header',
        null,
        h('strong', null, `Attempt ${attempt.number}`),
        outcomeBadge(attempt.outcome),
        ago(attempt.started_at),
      ),
      h(
        'p',
        null,
        'leased to ',
        h(
          'a',
          { href: `/workers?worker=${encodeURIComponent(attempt.worker_id)}`, 'data-link': true },
          visible(attempt.worker_id),
        ),
        attempt.ended_at === null
          ? `, running for ${duration(nowMs() - Date.parse(attempt.started_at ?? ''))}`
          : `, ran ${between(attempt.started_at, attempt.ended_at)}`,
        before?.ended_at && attempt.started_at
          ? `, ${between(before.ended_at, attempt.started_at)} after the attempt before`
          : '',
        h('span', { class: 'faint' }, ` · fencing token ${attempt.fencing_token}`),
      ),
      errorText(attempt, isLast),
    ),
  ];
}

/** The message, and the traceback behind it. @param {Attempt} attempt @param {boolean} isOpen */
function errorText(attempt, isOpen) {
  const { error } = attempt;
  if (error === null || error === '') return null;
  const lines = error.trim().split('\n');
  const version = `${attempt.fencing_token}-${error.length}`;
  if (lines.length === 1) return h('pre', { class: 'error', 'data-test': 'error-text' }, error);
  return h(
    'details',
    { class: 'trace', open: isOpen },
    h('summary', null, firstLine(headline(lines), 300)),
    still('pre', { class: 'error', tabindex: '0', 'data-test': 'error-text' }, version, () => error),
  );
}

/** The line of a traceback that says what happened: in Python the last. @param {string[]} lines */
function headline(lines) {
  return lines[0]?.startsWith('Traceback') ? (lines.at(-1) ?? '') : (lines[0] ?? '');
}

/** How it ended, or what comes next; why is said above the timeline. @param {Task} task */
function last(task) {
  const next = NEXT[task.status];
  if (task.ended_at === null) {
    const due =
      task.schedule_at !== null && Date.parse(task.schedule_at) > nowMs() ? ago(task.schedule_at) : null;
    return next === undefined
      ? null
      : h('li', { class: 'next', key: 'next' }, h('header', null, h('strong', null, next), due));
  }
  return h(
    'li',
    { class: `quiet ${task.status}`, key: 'ended' },
    h('header', null, h('strong', null, sentence(task.status)), ago(task.ended_at)),
  );
}

/** @param {string} word */
function sentence(word) {
  const text = words(word);
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** @param {string|null} from @param {string|null} to */
function between(from, to) {
  return from === null || to === null ? '–' : duration(Math.max(0, Date.parse(to) - Date.parse(from)));
}
