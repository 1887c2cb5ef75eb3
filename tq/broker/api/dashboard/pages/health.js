/** @file The state of the broker in words: one sentence that says how it is, and a line for each thing that is wrong. */

import { h } from '../app/dom.js';
import { duration, things, visible } from '../app/format.js';
import { icon } from '../components/icon.js';
import { unserved } from './unserved.js';

/** @typedef {import('../app/types.js').Cluster} Cluster */
/** @typedef {import('../app/types.js').Health} Health */
/** @typedef {import('../app/types.js').Stats} Stats */
/** @typedef {import('../app/types.js').Worker} Worker */

const OLD_MS = 60_000;
const LINES_MAX = 8;

/**
 * @param {{health: Health, cluster: Cluster, workers: Worker[]|null}} data workers: null = not known
 * @param {Stats|null} stats null = not known
 * @param {boolean} isSilent the node does not answer any more: what it said last holds no longer
 */
export function healthLines({ health, cluster, workers }, stats, isSilent) {
  const away = cluster.members.filter((member) => member.role === 'unreachable');
  const problems = [...health.problems, ...away.map((member) => `Node ${member.node_id} does not answer.`)];
  const faults = problems.map((text) => h('li', { class: 'bad' }, icon('alert'), h('span', null, text)));
  const remarked = stats === null || workers === null ? [] : remarksOn(stats, workers.length);
  const remarks = remarked.map((content) => h('li', null, icon('info'), h('span', null, content)));
  const lines = [...faults, ...remarks];
  const isWell = !isSilent && health.status === 'healthy' && away.length === 0;
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
      h('strong', null, isSilent ? 'Not known' : isWell ? 'Healthy' : 'Degraded'),
      ' ',
      isSilent ? 'The node does not answer. Before that: ' : null,
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

/** @param {Health} health @param {Cluster} cluster @param {Worker[]|null} workers */
function sentence(health, cluster, workers) {
  const { members } = cluster;
  const reached = members.filter((member) => member.role !== 'unreachable').length;
  const nodes = members.length <= 1 ? 'One node' : `${reached} of ${members.length} nodes`;
  if (health.leader === null) return `${nodes}, ${leaderless(cluster)}`;
  const leader = members.length <= 1 ? '' : `, led by ${health.leader}`;
  const kept =
    health.durability === 'strict'
      ? 'every acknowledged task is on disk'
      : `durability ${health.durability}: a power loss may cost acknowledged tasks`;
  return `${nodes}${leader}; ${kept}; ${served(workers)}.`;
}

/** @param {Worker[]|null} workers */
function served(workers) {
  if (workers === null) return 'workers not known';
  const slots = workers.reduce((sum, worker) => sum + worker.capacity, 0);
  return workers.length === 0
    ? 'no workers'
    : `${things(workers.length, 'worker')} with ${things(slots, 'slot')}`;
}

/** Why nobody leads: too few that vote, or an election that is not over. @param {Cluster} cluster */
function leaderless({ members }) {
  const voters = members.filter((member) => member.role !== 'observer' && !member.is_joining);
  const reached = voters.filter((member) => member.role !== 'unreachable').length;
  const needed = Math.floor(voters.length / 2) + 1;
  const why = reached < needed ? `no quorum: ${needed} are needed` : 'they elect one';
  return `no leader (${why}). Nothing is submitted or handed out until there is one.`;
}

/** What is not broken and still worth a look. @param {Stats} stats @param {number} workers @returns {import('../app/dom.js').Children[]} */
function remarksOn(stats, workers) {
  const waiting = stats.pending_count > 0;
  const left = workers === 0 ? null : unserved(stats.queues);
  return [
    ...(waiting && workers === 0
      ? [`${things(stats.pending_count, 'task waits', 'tasks wait')} and no worker is connected.`]
      : []),
    ...(left === null ? [] : [left]),
    ...stats.queues
      .filter((queue) => queue.paused && queue.pending > 0)
      .map((queue) => [
        'Queue ',
        link('/queues', visible(queue.queue)),
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

/** @param {string} href @param {string} text */
function link(href, text) {
  return h('a', { href, 'data-link': true }, text);
}
