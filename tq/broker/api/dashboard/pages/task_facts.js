/** @file What is known of a task besides what it carries and what was tried: as names and values. */

import { h } from '../app/dom.js';
import { bytes, count, duration, things, visible, words } from '../app/format.js';
import { moment } from '../components/time.js';
import { queueLink, taskLink, typeLink, workerLink } from './links.js';

/** @typedef {import('../app/types.js').Task} Task */

const DEPENDENCIES_SHOWN_MAX = 50;
/** A counter's name where it stands at one. */
const CAUSES = /** @type {Record<string, string>} */ ({
  errors: 'error',
  timeouts: 'timeout',
  crashes: 'crash',
  leases_lost: 'lease lost',
  releases: 'release',
  snoozes: 'snooze',
});

/** @param {Task} found */
export function facts(found) {
  const { dependencies, metadata } = found;
  const rows = /** @type {[string, import('../app/dom.js').Children][]} */ ([
    ['Type', typeLink(found.task_type)],
    ['Queue', queueLink(found.queue)],
    [
      'Priority',
      `${found.priority} (${found.priority >= 200 ? 'high' : found.priority >= 100 ? 'normal' : 'low'})`,
    ],
    ['Worker', workerLink(found.worker_id)],
    ['Created', moment(found.created_at)],
    ['Updated', moment(found.updated_at)],
    ['Due', found.schedule_at === null ? null : moment(found.schedule_at)],
    ['Started', found.started_at === null ? null : moment(found.started_at)],
    ['Ended', found.ended_at === null ? null : moment(found.ended_at)],
    ['Expires', found.expires_at === null ? null : moment(found.expires_at)],
    ['Time limit', duration(found.timeout_seconds * 1000)],
    ['Retries', `${count(found.retry_count)} of ${count(found.max_retries)} used`],
    ['Back-off', backOff(found)],
    ['Charged to', causes(found)],
    ['Payload', bytes(found.payload_bytes ?? 0)],
    ['Unique key', found.unique_key === null ? null : h('code', null, visible(found.unique_key))],
    ['Depends on', dependencies.length === 0 ? null : dependencyList(dependencies)],
    ...Object.entries(metadata).map(([name, value]) => [visible(name), h('code', null, visible(value))]),
  ]);
  return h(
    'dl',
    { class: 'facts', 'data-test': 'facts' },
    rows
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [h('dt', null, name), h('dd', null, value)])
      .flat(),
  );
}

/** @param {Task} found */
function backOff({ retry: policy }) {
  if (policy.strategy === 'custom')
    return policy.delays_seconds.map((seconds) => duration(seconds * 1000)).join(', ');
  const first = duration(policy.base_seconds * 1000);
  if (policy.strategy === 'fixed') return `${first} each time`;
  return `${policy.strategy} from ${first} to ${duration(policy.cap_seconds * 1000)}`;
}

/** @param {Task} found */
function causes({ counters }) {
  const struck = Object.entries(counters).filter(([, times]) => times > 0);
  return struck.length === 0
    ? null
    : struck.map(([name, times]) => things(times, CAUSES[name] ?? words(name), words(name))).join(', ');
}

/** @param {string[]} ids */
function dependencyList(ids) {
  return h(
    'ul',
    { class: 'ids', 'data-test': 'dependencies' },
    ids.slice(0, DEPENDENCIES_SHOWN_MAX).map((id) => h('li', null, taskLink(id))),
    ids.length > DEPENDENCIES_SHOWN_MAX
      ? h('li', null, `and ${count(ids.length - DEPENDENCIES_SHOWN_MAX)} more`)
      : null,
  );
}
