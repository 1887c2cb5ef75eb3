/**
 * @file Actions on many tasks: one bounded step after another, with progress, a rate and a way to stop. They belong to
 * the shell and not to a page, so they go on while the visitor looks at other pages.
 */

import { ApiError } from '../app/api.js';
import { byId, h, patch } from '../app/dom.js';
import { count } from '../app/format.js';
import { icon } from './icon.js';
import { explain } from './notice.js';

const TRIES_MAX = 6;
const WAIT_MS_MIN = 1_000;
const SECOND_MS = 1_000;
/** How many tasks one step takes when no rate is asked for. */
export const STEP_TASKS = 500;

/**
 * @typedef {object} Job
 * @property {string} title what is being done: `Retrying 1,204 dead letters`
 * @property {string} done in the past: `retried`
 * @property {number} total as counted before; more may come meanwhile
 * @property {number|null} perSecond null = as quick as it goes
 * @property {(limit: number, signal: AbortSignal) => Promise<{done: number, skipped: number, isOver: boolean}>} step
 *   at most `limit` tasks. It is called again after an error that says *unavailable* or *unknown*, so it must not
 *   matter when it runs twice.
 * @property {() => void} [after] called once when it ends, however it does
 */

/** @typedef {'running'|'done'|'stopped'|'failed'} RunState */

class Run {
  /** @param {Job} job @param {number} number */
  constructor(job, number) {
    this.job = job;
    this.number = number;
    this.done = 0;
    this.skipped = 0;
    /** @type {RunState} */
    this.state = 'running';
    this.problem = '';
    this.stop = new AbortController();
  }
}

/** @type {Set<Run>} */
const runs = new Set();
let started = 0;

/** Start a job and show its progress. @param {Job} job */
export function startBulk(job) {
  started += 1;
  const run = new Run(job, started);
  runs.add(run);
  show();
  void go(run);
}

/** @param {Run} run */
async function go(run) {
  const { job, stop } = run;
  const limit = job.perSecond === null ? STEP_TASKS : Math.max(1, Math.min(1000, Math.round(job.perSecond)));
  try {
    for (let isOver = false; !isOver;) {
      const began = performance.now();
      const step = await insist(() => job.step(limit, stop.signal), run);
      run.done += step.done;
      run.skipped += step.skipped;
      isOver = step.isOver;
      show();
      if (job.perSecond !== null && !isOver)
        await pause((limit / job.perSecond) * SECOND_MS - (performance.now() - began), stop.signal);
    }
    run.state = 'done';
  } catch (error) {
    run.state = stop.signal.aborted ? 'stopped' : 'failed';
    run.problem = run.state === 'failed' ? explain(error) : '';
  }
  show();
  job.after?.();
}

/**
 * Do one step, again while the broker is busy or away.
 * @template T
 * @param {() => Promise<T>} step
 * @param {Run} run
 * @returns {Promise<T>}
 */
async function insist(step, run) {
  for (let tries = 1; ; tries += 1) {
    try {
      const result = await step();
      run.problem = '';
      return result;
    } catch (error) {
      const isPassing = error instanceof ApiError && (error.outcome !== 'rejected' || error.status === 429);
      if (!isPassing || tries >= TRIES_MAX) throw error;
      run.problem = `${error.message} Trying again, which does no harm twice.`;
      show();
      await pause(error.retryAfterMs || WAIT_MS_MIN * 2 ** (tries - 1), run.stop.signal);
    }
  }
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(
      () => {
        signal.removeEventListener('abort', stop);
        resolve();
      },
      Math.max(0, ms),
    );
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}

function show() {
  patch(byId('activity'), [...runs].map(panel));
}

/** @param {Run} run */
function panel(run) {
  const { job } = run;
  const isRunning = run.state === 'running';
  const all = Math.max(job.total, run.done + run.skipped);
  return h(
    'section',
    {
      class: 'doing',
      key: run.number,
      'aria-label': job.title,
      'data-test': 'progress',
      'data-state': run.state,
      'data-done': run.done,
    },
    h(
      'header',
      null,
      h('strong', null, job.title),
      isRunning
        ? h(
            'button',
            { type: 'button', class: 'small', 'data-test': 'stop', onclick: () => run.stop.abort() },
            'Stop',
          )
        : h(
            'button',
            {
              type: 'button',
              class: 'plain',
              'aria-label': 'Dismiss',
              'data-test': 'dismiss-run',
              onclick: () => (runs.delete(run), show()),
            },
            icon('close'),
          ),
    ),
    h('progress', {
      max: Math.max(1, all),
      value: run.state === 'done' ? Math.max(1, all) : run.done + run.skipped,
      'aria-label': job.title,
    }),
    h(
      'p',
      { role: isRunning ? null : 'status' },
      summary(run, all),
      run.problem === '' ? null : h('span', { class: 'problem' }, ` ${run.problem}`),
    ),
  );
}

/** @param {Run} run @param {number} all */
function summary(run, all) {
  const done = `${count(run.done)}${run.state === 'running' ? ` of ${count(all)}` : ''} ${run.job.done}`;
  const skipped = run.skipped === 0 ? '' : `, ${count(run.skipped)} skipped`;
  const rate = run.state === 'running' && run.job.perSecond !== null ? `, ${run.job.perSecond} a second` : '';
  const end = run.state === 'stopped' ? ', then stopped' : run.state === 'failed' ? ', then failed.' : '';
  return `${done}${skipped}${rate}${end}${run.state === 'running' ? '. Keep this tab open.' : ''}`;
}

/** Ask before a tab is closed that still has work to do. */
export function guardBulk() {
  window.addEventListener('beforeunload', (event) => {
    if ([...runs].some((run) => run.state === 'running')) event.preventDefault();
  });
}
