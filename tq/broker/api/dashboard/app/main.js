/** @file Puts the dashboard together and starts it: shell, pages, live feed, keys. */

import { guardBulk } from '../components/bulk.js';
import { startAges } from '../components/time.js';
import { toastError } from '../components/toast.js';
import { missing } from '../pages/missing.js';
import { setAskForKey } from './api.js';
import * as calls from './calls.js';
import { byId } from './dom.js';
import { Live } from './live.js';
import { Router } from './router.js';
import { Screen } from './screen.js';
import { setUpSearch } from './search.js';
import { askForKey, drawShell, help, setUpForget, setUpTheme, showWhere } from './shell.js';
import { may } from './session.js';
import { setUpShortcuts } from './shortcuts.js';
import { Store } from './store.js';
import { watchHealth } from './watch.js';

/** @typedef {import('./types.js').Shared} Shared */
/** @typedef {import('./router.js').Finder} Finder */
/** @typedef {{isNew: boolean, place: import('./place.js').Place|null}} How */

const STALE_MARK_MS = 1_000;

/** Each page is fetched when it is first shown, so that the first one stands soon; the others follow once it does. */
const PAGES = /** @type {[RegExp, Finder][]} */ ([
  [/^\/$/, async () => (await import('../pages/overview.js')).overview],
  [/^\/tasks$/, async () => (await import('../pages/tasks.js')).tasks],
  [/^\/tasks\/([^/]+)$/, async () => (await import('../pages/task.js')).task],
  [/^\/workers$/, async () => (await import('../pages/workers.js')).workers],
  [/^\/queues$/, async () => (await import('../pages/queues.js')).queues],
  [/^\/dlq$/, async () => (await import('../pages/dlq.js')).dlq],
  [/^\/cluster$/, async () => (await import('../pages/cluster.js')).cluster],
]);
const LOCKED = async () => (await import('../pages/locked.js')).locked;
const MISSING = async () => missing;
/** When the pages that are not shown are fetched: the first one must not wait for them. */
const FETCH_OTHERS_MS = 2_000;

function start() {
  /** @type {Store<Shared>} */
  const store = new Store(
    /** @type {Shared} */ ({ me: null, stats: null, health: null, live: 'off', staleSinceMs: null, tick: 0 }),
  );
  const live = new Live(store);
  const screen = new Screen(byId('main'), store, (address, how) => router.go(address, how));
  const drawAround = () => drawShell(store.value, location.pathname);
  const showFound = shower(screen, () => onceLive(store, () => location.reload()));
  const router = new Router(PAGES, MISSING, (find, route, how) => {
    drawAround();
    showWhere();
    const { me } = store.value;
    void showFound(me !== null && !may(me, 'read_tasks') ? LOCKED : find, route, how);
  });
  const go = (/** @type {string} */ address) => router.go(address);
  store.listen((now, before) => {
    drawAround();
    // With counts beside them the links are wider.
    if (before.stats === null && now.stats !== null) showWhere();
  });
  setInterval(() => store.value.live === 'stale' && drawAround(), STALE_MARK_MS);
  setAskForKey(askForKey);
  setUpSearch(go);
  setUpTheme();
  setUpForget();
  setUpShortcuts({ go, help, reload: () => void screen.shown?.reload() });
  byId('help').onclick = help;
  startAges();
  guardBulk();
  window.addEventListener('unhandledrejection', (event) => toastError(event.reason));
  router.follow();
  void watchHealth(store);
  void signIn(store, live, () => router.follow({ isNew: true }));
  setTimeout(() => requestIdleCallback(fetchOthers), FETCH_OTHERS_MS);
}

/**
 * What shows a page once its module is there; of several that are waited for the last.
 * @param {Screen} screen
 * @param {() => void} tryLater a module that could not be fetched is not asked for again in this document; not called for
 *   the document's first page, which would fail again
 * @returns {(find: Finder, route: import('./types.js').Route, how: How) => Promise<void>}
 */
function shower(screen, tryLater) {
  let turn = 0;
  let isNew = false;
  return async (find, route, how) => {
    const mine = ++turn;
    isNew ||= how.isNew;
    const page = await find().catch(() => null);
    if (mine !== turn) return;
    if (page === null) {
      toastError(new Error('This page could not be fetched; it will be once the broker answers.'));
      if (screen.shown !== null) tryLater();
      return;
    }
    screen.show(page, route, { isNew, place: how.place });
    isNew = false;
  };
}

/** So that they are there even when the broker is not. One that cannot be fetched now is when it is shown. */
function fetchOthers() {
  for (const [, find] of PAGES) find().catch(() => undefined);
}

/**
 * Learn who holds the key, which asks for one where it must, and only then listen: a socket cannot ask.
 * @param {Store<Shared>} store
 * @param {Live} live
 * @param {() => void} showAnew
 */
async function signIn(store, live, showAnew) {
  const me = await calls.me().catch(() => null);
  if (me === null) {
    // The broker is away just now: who holds the key is asked for once the feed, which comes back by itself, is there.
    onceLive(store, () => calls.me().then((found) => store.set({ me: found }), toastError));
  } else {
    store.set({ me });
    if (!may(me, 'read_tasks')) {
      showAnew();
      return;
    }
  }
  live.connect();
}

/** Do something when the feed is there the next time. @param {Store<Shared>} store @param {() => void} act */
function onceLive(store, act) {
  const end = store.listen((now) => {
    if (now.live !== 'live') return;
    end();
    act();
  });
}

start();
