/** @file Puts the dashboard together and starts it: shell, pages, live feed, keys. */

import { guardBulk } from '../components/bulk.js';
import { startAges } from '../components/time.js';
import { toastError } from '../components/toast.js';
import { cluster } from '../pages/cluster.js';
import { dlq } from '../pages/dlq.js';
import { locked } from '../pages/locked.js';
import { missing } from '../pages/missing.js';
import { overview } from '../pages/overview.js';
import { queues } from '../pages/queues.js';
import { task } from '../pages/task.js';
import { tasks } from '../pages/tasks.js';
import { workers } from '../pages/workers.js';
import { setAskForKey } from './api.js';
import * as calls from './calls.js';
import { byId } from './dom.js';
import { Live } from './live.js';
import { Router } from './router.js';
import { Screen } from './screen.js';
import { askForKey, drawShell, help, setUpForget, setUpSearch, setUpTheme } from './shell.js';
import { may } from './session.js';
import { setUpShortcuts } from './shortcuts.js';
import { Store } from './store.js';

/** @typedef {import('./types.js').Shared} Shared */
/** @typedef {import('./types.js').Page<any, any>} AnyPage */

const STALE_MARK_MS = 1_000;

const PAGES = /** @type {[RegExp, AnyPage][]} */ ([
  [/^\/$/, overview],
  [/^\/tasks$/, tasks],
  [/^\/tasks\/([^/]+)$/, task],
  [/^\/workers$/, workers],
  [/^\/queues$/, queues],
  [/^\/dlq$/, dlq],
  [/^\/cluster$/, cluster],
]);

function start() {
  /** @type {Store<Shared>} */
  const store = new Store(
    /** @type {Shared} */ ({ me: null, stats: null, live: 'off', staleSinceMs: null, tick: 0 }),
  );
  const live = new Live(store);
  const screen = new Screen(byId('main'), store, (address, how) => router.go(address, how));
  const drawAround = () => drawShell(store.value, location.pathname);
  const router = new Router(PAGES, missing, (page, route, how) => {
    drawAround();
    const { me } = store.value;
    screen.show(me !== null && !may(me, 'read_tasks') ? locked : page, route, how);
  });
  const go = (/** @type {string} */ address) => router.go(address);
  store.listen(drawAround);
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
  void signIn(store, live, () => router.follow({ isNew: true }));
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
    const end = store.listen((now) => {
      if (now.live !== 'live') return;
      end();
      calls.me().then((found) => store.set({ me: found }), toastError);
    });
  } else {
    store.set({ me });
    if (!may(me, 'read_tasks')) {
      showAnew();
      return;
    }
  }
  live.connect();
}

start();
