/**
 * @file Asks the node itself how it is, whatever the feed says: it answers at once, also while nobody leads, and then the
 * feed and every other call are silent.
 */

import * as calls from './calls.js';

const EVERY_MS = 2_000;

/** The node answers, and it knows of no leader. @param {import('./types.js').Shared} shared */
export function lacksLeader({ health }) {
  return health !== null && health.leader === null;
}

/** What pages tell of a health, as one text to compare. @param {import('./types.js').Shared} shared */
export function verdict({ health }) {
  return health === null ? '' : `${health.status} ${health.leader} ${health.problems.join()}`;
}

/**
 * The numbers that change with every task that does, as one text to compare.
 * @param {import('./types.js').Shared} shared
 */
export function tally({ stats }) {
  if (stats === null) return '';
  const counts = Object.entries(stats).filter(([name]) => name.endsWith('_count'));
  const paused = stats.queues.filter((queue) => queue.paused).map((queue) => queue.queue);
  const { submitted, completed, failed } = stats.minute ?? {};
  return JSON.stringify([counts, paused, submitted, completed, failed]);
}

/** Keep `health` of the store true; null = the node does not answer. @param {import('./live.js').SharedStore} store */
export async function watchHealth(store) {
  setTimeout(() => void watchHealth(store), EVERY_MS);
  if (document.hidden) return;
  const health = await calls.health(AbortSignal.timeout(EVERY_MS)).catch(() => null);
  const before = store.value;
  // The feed tells of nothing while nobody leads: the pages that can be read go on by this.
  const isIll = health !== null && health.status !== 'healthy';
  if (isIll || verdict(before) !== verdict({ ...before, health }))
    store.set({ health, tick: before.tick + (isIll ? 1 : 0) });
}
