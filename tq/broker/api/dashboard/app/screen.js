/**
 * @file Shows one page at a time: reads what it needs, draws it, and does both again while the picture moves.
 *
 * Rules of the file:
 * - What was read for a page that has been left, or for a query that has changed, is thrown away.
 * - What an address asks for and cannot be is named, and nothing is read.
 * - An error never takes away what is shown: it stands above it, with a way to try again.
 * - While another query of the page is read, the picture of the one before stands still: what it shows and what its
 *   buttons act on stay one thing.
 * - While nobody leads, what needs a leader is not asked for; it is as soon as there is one.
 * - Drawings are gathered: at most one a frame.
 * - Where the feed's numbers tell that nothing has moved, nothing is read.
 * - A broker that is slow to answer is asked more seldom: between two readings lies twenty times what the last one took.
 */

import { faultNotice, faultsOf } from '../components/asked.js';
import { errorNotice, leaderlessNotice, loading } from '../components/notice.js';
import { isAbort } from './api.js';
import { h, patch } from './dom.js';
import { goTo } from './place.js';
import { may } from './session.js';
import { lacksLeader, verdict } from './watch.js';

const REST_FACTOR = 20;
const REST_MS_MAX = 15_000;
/** How often a page is read whose numbers stand still: what they do not tell of may have changed. */
const STILL_MS = 15_000;

/** @typedef {import('./types.js').Route} Route */
/** @typedef {import('./types.js').Page<any, any>} AnyPage */
/** @typedef {import('./types.js').View} View */

export class Screen {
  /**
   * @param {HTMLElement} main
   * @param {import('./live.js').SharedStore} store
   * @param {(address: string, how: {replace?: boolean}) => void} go
   */
  constructor(main, store, go) {
    this.main = main;
    this.store = store;
    this.go = go;
    /** @type {Shown|null} */
    this.shown = null;
    store.listen((now, before) => this.shown?.changed(now, before));
  }

  /**
   * @param {AnyPage} page
   * @param {Route} route
   * @param {{isNew: boolean, place: import('./place.js').Place|null}} how place: where on the page to go once it stands
   */
  show(page, route, { isNew, place }) {
    document.title = `${page.title(route)} · tq`;
    this.main.setAttribute('aria-label', page.title(route));
    if (!isNew && this.shown !== null) {
      this.shown.follow(route);
      return;
    }
    const isFirst = this.shown === null;
    this.shown?.end();
    this.main.dataset['page'] = page.name;
    patch(this.main, loading());
    this.shown = new Shown(this, page, route, place);
    if (isFirst) return;
    scrollTo(0, 0);
    // Where a reader of the screen, and the next Tab, go on after a link was followed.
    this.main.focus({ preventScroll: true });
  }
}

class Shown {
  /** @param {Screen} screen @param {AnyPage} page @param {Route} route @param {import('./place.js').Place|null} place */
  constructor(screen, page, route, place) {
    this.screen = screen;
    this.page = page;
    this.route = route;
    this.place = place;
    /** @type {string[]} */
    this.faults = [];
    this.state = page.state();
    /** @type {{data: any}|null} */
    this.read = null;
    /** What was read is what the address asks for. */
    this.isFresh = false;
    /** @type {unknown} */
    this.error = null;
    this.isReading = false;
    this.readAt = 0;
    /** By what the page is moved, as it was when it was read. */
    this.version = '';
    this.tookMs = 0;
    this.frame = 0;
    this.leave = new AbortController();
    this.turn = new AbortController();
    screen.main.setAttribute('aria-busy', 'true');
    this.close = page.open?.(this.view(this.leave.signal), this.state) ?? (() => undefined);
    void this.reload();
  }

  end() {
    this.leave.abort();
    this.turn.abort();
    cancelAnimationFrame(this.frame);
    this.close();
  }

  /** Another query of the same page. @param {Route} route */
  follow(route) {
    this.route = route;
    this.isFresh = false;
    this.screen.main.setAttribute('aria-busy', 'true');
    void this.reload();
  }

  /** @param {import('./types.js').Shared} now @param {import('./types.js').Shared} before */
  changed(now, before) {
    this.redraw();
    const isLost = lacksLeader(now) && !this.page.needsNoLeader;
    const isRegained = lacksLeader(before) && now.health !== null && !lacksLeader(now);
    if (isRegained || (this.page.needsNoLeader && now.health !== null && verdict(now) !== verdict(before)))
      return void this.reload();
    // Something has moved: what was read may be old.
    const ticked = now.tick !== before.tick && !isLost;
    const { everyMs } = this.page;
    const waitMs = typeof everyMs === 'function' ? everyMs(this.read?.data ?? null) : everyMs;
    const restMs = Math.min(this.page.restMsMax ?? REST_MS_MAX, REST_FACTOR * this.tookMs);
    const hasMoved = this.page.movedBy === undefined || this.page.movedBy(now) !== this.version;
    const isDue = performance.now() - this.readAt >= Math.max(waitMs, restMs, hasMoved ? 0 : STILL_MS);
    if (ticked && isDue && !this.isReading && !document.hidden) void this.reload();
  }

  async reload() {
    this.turn.abort();
    const turn = (this.turn = new AbortController());
    this.faults = this.page.asks === undefined ? [] : faultsOf(this.route.query, this.page.asks);
    this.isReading = this.faults.length === 0;
    this.redraw();
    if (!this.isReading) return;
    const began = performance.now();
    this.version = this.page.movedBy?.(this.screen.store.value) ?? '';
    try {
      const data = await this.page.load(this.view(turn.signal), this.state);
      if (turn.signal.aborted) return;
      this.read = { data };
      this.isFresh = true;
      this.error = null;
    } catch (error) {
      if (turn.signal.aborted || isAbort(error)) return;
      this.error = error;
    } finally {
      if (this.turn === turn) {
        this.isReading = false;
        this.readAt = performance.now();
        this.tookMs = this.readAt - began;
      }
    }
    this.redraw();
  }

  redraw() {
    if (this.frame !== 0 || this.leave.signal.aborted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const again = () => void this.reload();
    const isLost = lacksLeader(this.screen.store.value);
    const notice = this.error === null || isLost ? [] : [errorNotice(this.error, again)];
    if (this.faults.length > 0) {
      this.put(this.refusal());
    } else if (this.isFresh && this.read !== null) {
      this.put([...notice, ...this.page.draw(this.view(this.leave.signal), this.read.data, this.state)]);
    } else if (isLost && !this.page.needsNoLeader) {
      this.put(leaderlessNotice());
    } else if (this.error !== null) {
      this.put(notice);
    }
  }

  /** In place of what an address asks for that cannot be. */
  refusal() {
    const view = this.view(this.leave.signal);
    const filters = this.page.filters?.(view) ?? null;
    return [
      h('h1', { key: 'head' }, this.page.heading),
      ...(filters === null ? [] : [filters]),
      faultNotice(view, this.faults),
    ];
  }

  /** @param {Node[]} nodes */
  put(nodes) {
    patch(this.screen.main, nodes);
    this.screen.main.setAttribute('aria-busy', 'false');
    if (this.place !== null) goTo(this.place);
    this.place = null;
  }

  /** @param {AbortSignal} signal @returns {View} */
  view(signal) {
    const { store } = this.screen;
    return {
      route: this.route,
      shared: store.value,
      signal,
      redraw: () => this.redraw(),
      reload: () => this.reload(),
      setQuery: (changes, how) => this.setQuery(changes, how ?? {}),
      may: (permission) => may(store.value.me, permission),
    };
  }

  /** @param {Object<string, string|null>} changes @param {{replace?: boolean}} how */
  setQuery(changes, how) {
    const query = new URLSearchParams(this.route.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === '') query.delete(name);
      else query.set(name, value);
    }
    const text = query.toString();
    this.screen.go(text === '' ? this.route.path : `${this.route.path}?${text}`, how);
  }
}
