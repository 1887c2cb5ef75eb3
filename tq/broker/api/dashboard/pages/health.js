/** @file The state of the broker in words: one sentence that says how it is, and a line for each thing that is wrong. */

import { h } from '../app/dom.js';
import { count, duration, things } from '../app/format.js';
import { address } from '../app/router.js';
import { icon } from '../components/icon.js';

/** @typedef {import('../app/types.js').Stats} Stats */

const OLD_MS = 60_000;
const LINES_MAX = 8;

/**
 * @param {{health: import('../app/types.js').Health, cluster: import('../app/types.js').Cluster, workers: import('../app/types.js').Worker[]}} data
 * @param {Stats} stats
 */
export function healthLines({ health, cluster, workers }, stats) {
  const away = cluster.members.filter((member) => member.role === 'unreachable');
  const problems = [...health.problems, ...away.map((member) => `Node ${member.node_id} does not answer.`)];
  const faults = problems.map((text) => h('li', { class: 'bad' }, icon('alert'), h('span', null, text)));
  const remarks = remarksOn(stats, workers.length).map((content) =>
    h('li', null, icon('info'), h('span', null, content)),
  );
  const lines = [...faults, ...remarks];
  const isWell = health.status === 'healthy' && away.length === 0;
  return h(
    'section',
    {
      class: `health ${isWell ? 'well' : 'ill'}`,
      'aria-label': 'Health',
      'data-test': 'health',
      key: 'health',
    },
    h(
      'p',
      { class: 'sentence' },
      h('i', { 'aria-hidden': 'true' }),
      h('strong', null, isWell ? 'Healthy' : 'Degraded'),
      ' ',
      sentence(health, cluster, workers),
    ),
    lines.length === 0
      ? null
      : h(
          'ul',
          null,
          lines.slice(0, LINES_MAX),
          lines.length > LINES_MAX ? h('li', null, `and ${lines.length - LINES_MAX} more`) : null,
        ),
  );
}

/**
 * @param {import('../app/types.js').Health} health
 * @param {import('../app/types.js').Cluster} cluster
 * @param {import('../app/types.js').Worker[]} workers
 */
function sentence(health, cluster, workers) {
  const { members } = cluster;
  const reached = members.filter((member) => member.role !== 'unreachable').length;
  const nodes = members.length <= 1 ? 'One node' : `${reached} of ${members.length} nodes`;
  const leader =
    members.length <= 1 ? '' : health.leader === null ? ', no leader' : `, led by ${health.leader}`;
  const slots = workers.reduce((sum, worker) => sum + worker.capacity, 0);
  const served =
    workers.length === 0 ? 'no workers' : `${things(workers.length, 'worker')} with ${things(slots, 'slot')}`;
  const kept =
    health.durability === 'strict'
      ? 'every acknowledged task is on disk'
      : `durability ${health.durability}: a power loss may cost acknowledged tasks`;
  return `${nodes}${leader}; ${kept}; ${served}.`;
}

/** What is not broken and still worth a look. @param {Stats} stats @param {number} workers @returns {import('../app/dom.js').Children[]} */
function remarksOn(stats, workers) {
  const waiting = stats.pending_count > 0;
  return [
    ...(waiting && workers === 0
      ? [`${things(stats.pending_count, 'task waits', 'tasks wait')} and no worker is connected.`]
      : []),
    ...(workers === 0 ? [] : unserved(stats)),
    ...stats.queues
      .filter((queue) => queue.paused && queue.pending > 0)
      .map((queue) => [
        'Queue ',
        link('/queues', queue.queue),
        ` is paused${queue.paused_reason ? ` (${queue.paused_reason})` : ''}; ${things(queue.pending, 'task waits', 'tasks wait')}.`,
      ]),
    ...(waiting && stats.oldest_pending_age_ms > OLD_MS
      ? [`The oldest waiting task has waited for ${duration(stats.oldest_pending_age_ms)}.`]
      : []),
    ...(stats.dead_letter_count > 0
      ? [[link('/dlq', things(stats.dead_letter_count, 'dead letter')), ' to look at.']]
      : []),
  ];
}

/** Types that wait and that nobody serves. @param {Pick<Stats, 'queues'>} stats @returns {import('../app/dom.js').Children[]} */
export function unserved(stats) {
  return stats.queues.flatMap((queue) =>
    queue.unserved.map((type) => [
      'No connected worker serves ',
      link(address('/tasks', { status: 'pending', task_type: type, queue: queue.queue }), type),
      ` on queue ${queue.queue} (${count(queue.pending)} waiting in it).`,
    ]),
  );
}

/** @param {string} href @param {string} text */
function link(href, text) {
  return h('a', { href, 'data-link': true }, text);
}
