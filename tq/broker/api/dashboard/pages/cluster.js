/** @file Cluster: who its members are, who leads, how far behind the others are; transfer leadership. */

import * as calls from '../app/calls.js';
import { nowMs } from '../app/clock.js';
import { h, s } from '../app/dom.js';
import { count, duration, things } from '../app/format.js';
import { badge } from '../components/badge.js';
import { ask } from '../components/dialog.js';
import { notice } from '../components/notice.js';
import { dataTable } from '../components/table.js';
import { toast } from '../components/toast.js';

/** @typedef {import('../app/types.js').Cluster} Cluster */
/** @typedef {import('../app/types.js').Member} Member */
/** @typedef {import('../app/types.js').View} View */
/** @typedef {{commit: number, apply: number}} Lag */
/** @typedef {{lags: Map<string, Lag[]>}} State what was seen while the page is open, the latest at the end */

const EVERY_MS = 1_000;
const REST_MS_MAX = 4_000;
const POINTS_MAX = 60;
const WIDTH = 84;
const HEIGHT = 24;
/** A lag below this is drawn flat: a few entries are always on their way. */
const LAG_SCALE_MIN = 10;

/** @type {import('../app/types.js').Page<Cluster, State>} */
export const cluster = {
  name: 'cluster',
  heading: 'Cluster',
  asks: {},
  title: () => 'Cluster',
  state: () => ({ lags: new Map() }),
  everyMs: EVERY_MS,
  needsNoLeader: true,
  // A node that is slow to answer, or gone, is what this page is looked at for.
  restMsMax: REST_MS_MAX,
  load: async ({ signal }, state) => {
    const found = await calls.cluster(signal);
    for (const member of found.members) remember(state, found, member);
    return found;
  },
  draw,
};

/** @param {State} state @param {Cluster} found @param {Member} member */
function remember(state, found, member) {
  const seen = state.lags.get(member.node_id) ?? [];
  state.lags.set(member.node_id, [...seen, lagOf(found, member)].slice(-POINTS_MAX));
}

/** How many entries are not yet committed at, and applied by, a member. @param {Cluster} found @param {Member} member @returns {Lag} */
function lagOf({ members }, member) {
  const front = Math.max(...members.filter((one) => !isAway(one)).map((one) => one.commit_index));
  return { commit: Math.max(member.lag, 0), apply: Math.max(0, front - member.applied_index) };
}

/** @param {View} view @param {Cluster} found @param {State} state */
function draw(view, found, state) {
  const { members, leader } = found;
  const isAlone = members.length <= 1;
  const term = Math.max(0, ...members.map((member) => member.term));
  return [
    h(
      'header',
      { class: 'page-head', key: 'head' },
      h('h1', null, 'Cluster'),
      h(
        'p',
        { class: 'faint' },
        isAlone
          ? 'one broker'
          : `${things(members.length, 'member')}, term ${count(term)}, ${leader === null ? 'no leader' : `led by ${leader}`}`,
      ),
    ),
    remark(isAlone, leader),
    dataTable({
      name: 'members',
      caption: 'Members of the cluster',
      id: (/** @type {Member} */ member) => member.node_id,
      rows: members,
      tone: (member) => (isAway(member) ? 'away' : null),
      columns: columns(view, found, state),
    }),
  ];
}

/** @param {boolean} isAlone @param {string|null} leader */
function remark(isAlone, leader) {
  if (isAlone) {
    return notice(
      'info',
      'alone',
      'This broker runs without a cluster. Its tasks are on this disk alone; three nodes keep them when one is lost. ',
      h('code', null, 'raft.enabled'),
      ' turns that on.',
    );
  }
  return leader === null
    ? notice(
        'bad',
        'leaderless',
        'There is no leader: nothing can be submitted or handed out until a majority is back.',
      )
    : h('span', { key: 'led' });
}

/** @param {View} view @param {Cluster} found @param {State} state @returns {import('../components/table.js').Column<Member>[]} */
function columns(view, found, state) {
  const isAlone = found.members.length <= 1;
  return [
    {
      title: 'Node',
      isHead: true,
      cell: (member) => [
        h('strong', null, member.node_id),
        member.is_self ? h('span', { class: 'faint' }, ' this one') : null,
      ],
    },
    {
      title: 'Role',
      cell: (member) => [
        badge(member.role),
        member.is_joining ? h('span', { class: 'faint' }, ' joining') : null,
      ],
    },
    {
      title: 'Address',
      room: 'wide',
      cell: (member) => (member.address === '' ? '–' : h('code', null, member.address)),
    },
    { title: 'Term', number: true, cell: (member) => known(member, member.term) },
    { title: 'Committed', number: true, room: 'wide', cell: (member) => known(member, member.commit_index) },
    { title: 'Applied', number: true, room: 'wide', cell: (member) => known(member, member.applied_index) },
    { title: 'Commit lag', cell: (member) => lagPicture(member, state, 'commit') },
    { title: 'Apply lag', cell: (member) => lagPicture(member, state, 'apply') },
    { title: 'Version', room: 'widest', cell: (member) => member.version || '–' },
    { title: 'Snapshot', number: true, room: 'wide', cell: (member) => snapshot(member) },
    {
      title: 'Actions',
      sticks: true,
      isHidden: isAlone || !view.may('admin'),
      cell: (member) => leadButton(view, found, member),
    },
  ];
}

/** It answers nobody: what is known of it is old. @param {Member} member */
function isAway(member) {
  return member.role === 'unreachable';
}

/** @param {Member} member @param {number} value */
function known(member, value) {
  return isAway(member) ? h('span', { class: 'faint' }, 'not known') : count(value);
}

/** @param {Member} member */
function snapshot({ snapshot_age_ms: age, role }) {
  if (role === 'unreachable') return h('span', { class: 'faint' }, 'not known');
  if (age === null) return h('span', { class: 'faint' }, 'none');
  return h('span', { title: new Date(nowMs() - age).toLocaleString() }, `${duration(age)} old`);
}

/** The lag now, and as a line over the last minute. @param {Member} member @param {State} state @param {'commit'|'apply'} kind */
function lagPicture(member, state, kind) {
  if (isAway(member)) return h('span', { class: 'faint' }, 'not known');
  const points = (state.lags.get(member.node_id) ?? []).map((lag) => lag[kind]);
  const now = points.at(-1) ?? 0;
  const top = Math.max(LAG_SCALE_MIN, ...points);
  const x = (/** @type {number} */ at) => WIDTH - ((points.length - 1 - at) / (POINTS_MAX - 1)) * WIDTH;
  const line = points
    .map((value, at) => `${x(at).toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`)
    .join(' ');
  return h(
    'span',
    { class: 'lag' },
    s(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: 'img',
        'aria-label': `${kind} lag over the last minute, most ${count(Math.max(0, ...points))} entries`,
      },
      s('polyline', { points: line }),
    ),
    h('span', { 'data-test': `${kind}-lag` }, count(now)),
  );
}

/** Only where a leader can hand over, and to a member that may take it. @param {View} view @param {Cluster} found @param {Member} member */
function leadButton(view, found, member) {
  const isLeader = member.role === 'leader';
  const cannotLead = isAway(member) || member.is_joining || member.role === 'observer';
  if (found.leader === null || (!isLeader && cannotLead)) return h('span', { class: 'faint' }, '–');
  const text = isLeader ? 'Leads' : 'Make leader';
  return h(
    'button',
    {
      type: 'button',
      class: 'small',
      disabled: isLeader,
      'data-test': 'transfer',
      onclick: () => void transfer(view, member),
    },
    text,
  );
}

/** @param {View} view @param {Member} member */
async function transfer(view, { node_id: node }) {
  const values = await ask({
    title: `Make ${node} the leader?`,
    confirm: 'Transfer leadership',
    body: h(
      'p',
      null,
      'The leader hands over once the other node has everything. Clients and workers follow by themselves; ',
      'nothing is lost, and writes wait for a moment.',
    ),
    act: async () => void (await calls.transfer(node)),
  });
  if (values === null) return;
  toast(`${node} leads`);
  void view.reload();
}
