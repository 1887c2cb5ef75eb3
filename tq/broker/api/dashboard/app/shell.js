/** @file What stands around every page: the live mark, counts beside the links, search, theme, key, help. */

import { icon } from '../components/icon.js';
import { ask } from '../components/dialog.js';
import { byId, h, patch } from './dom.js';
import { brief, duration } from './format.js';
import { forgetKey, key, may, setKey } from './session.js';
import { SHORTCUTS } from './shortcuts.js';
import { lacksLeader } from './watch.js';

/** @typedef {import('./types.js').Shared} Shared */

const LINKS = /** @type {const} */ ([
  ['/', 'overview', 'Overview'],
  ['/tasks', 'tasks', 'Tasks'],
  ['/workers', 'workers', 'Workers'],
  ['/queues', 'queues', 'Queues'],
  ['/dlq', 'dlq', 'Dead letters'],
  ['/cluster', 'cluster', 'Cluster'],
]);

const MARKS = /** @type {Record<import('./types.js').LiveState, [string, string]>} */ ({
  off: ['Off', 'Not connected'],
  connecting: ['Connecting', 'Connecting to the broker'],
  live: ['Live', 'The broker tells of changes as they happen'],
  polling: ['Polling', 'Live updates are cut; asking every few seconds'],
  stale: ['Stale', 'What is shown is old; trying to reach the broker'],
});

const LEADERLESS = ['No leader', 'The node answers; the cluster has no leader'];

/** Draw the navigation and the marks. @param {Shared} shared @param {string} path */
export function drawShell(shared, path) {
  // To a key that may not read, each page would say just that.
  const links = shared.me !== null && !may(shared.me, 'read_tasks') ? [] : LINKS;
  patch(byId('nav'), [
    h(
      'ul',
      null,
      links.map((link) => navLink(link, shared, path)),
    ),
  ]);
  const isLeaderless = lacksLeader(shared);
  const [word, more] = isLeaderless ? LEADERLESS : MARKS[shared.live];
  document.body.dataset['live'] = isLeaderless ? 'leaderless' : shared.live;
  patch(byId('live'), [h('i', null), h('span', { title: more }, word)]);
  patch(byId('banner'), isLeaderless ? leaderlessBanner(shared) : staleBanner(shared));
  byId('forget').hidden = !(shared.me?.keys_on && key() !== '');
  byId('who').textContent =
    shared.me === null
      ? ''
      : `${shared.me.node_id} · ${shared.me.version}${shared.me.keys_on ? ` · ${shared.me.name}` : ''}`;
}

/** On a phone the links scroll sideways: have the one of this page in sight. */
export function showWhere() {
  byId('nav').querySelector('[aria-current=page]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
}

/** @param {typeof LINKS[number]} link @param {Shared} shared @param {string} path */
function navLink([href, name, text], shared, path) {
  const isHere = href === '/' ? path === '/' : path === href || path.startsWith(`${href}/`);
  const beside = countBeside(name, shared);
  return h(
    'li',
    null,
    h(
      'a',
      { href, 'data-link': true, 'aria-current': isHere ? 'page' : null },
      icon(name),
      h('span', null, text),
      beside === null
        ? null
        : h('b', { class: name === 'dlq' ? 'count bad' : 'count', 'aria-hidden': 'true' }, beside),
    ),
  );
}

/** @param {string} name @param {Shared} shared */
function countBeside(name, { stats }) {
  if (stats === null) return null;
  if (name === 'tasks') return brief(stats.pending_count + stats.in_progress_count);
  if (name === 'workers') return brief(stats.worker_count);
  if (name === 'queues') return brief(stats.queues.length);
  return name === 'dlq' && stats.dead_letter_count > 0 ? brief(stats.dead_letter_count) : null;
}

/** @param {Shared} shared */
function staleBanner({ live, staleSinceMs, health }) {
  if (live !== 'stale' || staleSinceMs === null) return [];
  const ms = Date.now() - staleSinceMs;
  const age = ms < 2000 ? 'getting old' : `${duration(Math.floor(ms / 1000) * 1000)} old`;
  const what =
    health === null
      ? 'The connection to the broker is cut.'
      : 'The broker answers, and does not tell its numbers.';
  return banner('stale', `${what} What is shown is ${age}; trying again.`);
}

/** @param {Shared} shared */
function leaderlessBanner({ me }) {
  return banner(
    'leaderless',
    `${me === null ? 'This node' : `Node ${me.node_id}`} answers, and there is no leader: nothing is submitted or handed out until a majority of the nodes is back. Counts and tasks are those from before.`,
  );
}

/** @param {string} test @param {string} text */
function banner(test, text) {
  return [h('p', { class: 'stale', key: test, 'data-test': test }, icon('alert'), text)];
}

/** The button that goes from the system's theme to the other one and back. */
export function setUpTheme() {
  const root = document.documentElement;
  byId('theme').onclick = () => {
    const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    const next = (root.dataset['theme'] ?? system) === 'dark' ? 'light' : 'dark';
    if (next === system) {
      delete root.dataset['theme'];
      localStorage.removeItem('tq.theme');
    } else {
      root.dataset['theme'] = next;
      localStorage.setItem('tq.theme', next);
    }
  };
}

/** Ask for the key; return once one was given. @param {boolean} wasWrong */
export async function askForKey(wasWrong) {
  await ask({
    title: 'This broker asks for a key',
    test: 'key',
    isRequired: true,
    confirm: 'Continue',
    body: h(
      'p',
      null,
      wasWrong ? 'The broker does not know that key. ' : '',
      'It is kept in this tab only, and forgotten with it.',
    ),
    fields: [{ name: 'key', label: 'API key', type: 'password', required: true }],
    act: async (values) => setKey((values['key'] ?? '').trim()),
  });
}

export function setUpForget() {
  byId('forget').onclick = () => {
    forgetKey();
    location.reload();
  };
}

/** Show the keyboard shortcuts. */
export function help() {
  void ask({
    title: 'Keyboard',
    test: 'help-dialog',
    confirm: 'Close',
    isRequired: false,
    body: h(
      'dl',
      { class: 'shortcuts' },
      SHORTCUTS.map(([keys, text]) => [
        h(
          'dt',
          null,
          keys.split(' ').map((one) => h('kbd', null, one)),
        ),
        h('dd', null, text),
      ]).flat(),
    ),
  });
}
