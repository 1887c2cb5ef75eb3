/**
 * @file The live feed: a WebSocket that comes back by itself, and polling while it is away.
 *
 * Rules of the file:
 * - `live`: messages come. The broker tells its numbers each second, so a silence means a dead connection.
 * - `polling`: the socket is cut, and the same numbers are asked for every few seconds.
 * - `stale`: asking fails too, so what is shown is old, and says since when.
 * - Between attempts the wait doubles, with jitter, so that a broker that restarts is not stormed by its dashboards.
 * - A hidden tab listens to nothing after a minute.
 */

import { ApiError } from './api.js';
import * as calls from './calls.js';
import { learn } from './clock.js';
import { key } from './session.js';

const EVENTS = '/api/v1/events';
const SILENCE_MS_MAX = 6_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
const POLL_MS = 4_000;
const HIDDEN_MS_MAX = 60_000;

/** @typedef {import('./types.js').Stats} Stats */
/** @typedef {import('./types.js').Shared} Shared */
/** @typedef {import('./store.js').Store<Shared>} SharedStore */

/**
 * A socket for events. Browsers send no headers with it, so the key comes as a subprotocol.
 * @param {string} search what to hear, as `docs/rest.md` says
 */
export function eventSocket(search) {
  const url = new URL(EVENTS + search, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const token = btoa(String.fromCharCode(...new TextEncoder().encode(key())));
  const offered = token.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return new WebSocket(url, key() === '' ? ['tq.events'] : ['tq.events', `tq.bearer.${offered}`]);
}

export class Live {
  /** @param {SharedStore} store */
  constructor(store) {
    this.store = store;
    /** @type {WebSocket|null} */
    this.socket = null;
    this.failures = 0;
    this.retryTimer = 0;
    this.silenceTimer = 0;
    this.pollTimer = 0;
    this.hiddenTimer = 0;
    document.addEventListener('visibilitychange', () => this.visibilityChanged());
    window.addEventListener('online', () => this.isOn && this.connect());
  }

  /** It was connected once: before there is a key, and for one that may not read, nothing is to be heard. */
  get isOn() {
    return this.store.value.live !== 'off';
  }

  /** Connect now, whatever the wait was. */
  connect() {
    this.close();
    clearTimeout(this.retryTimer);
    if (this.store.value.live === 'off') this.store.set({ live: 'connecting' });
    const socket = eventSocket('?types=stats,worker_update');
    this.socket = socket;
    this.expectMessage();
    socket.onmessage = (message) => this.heard(JSON.parse(message.data));
    socket.onclose = () => this.lost();
  }

  /** Stop, and stay so until `connect`. */
  close() {
    clearTimeout(this.silenceTimer);
    if (this.socket === null) return;
    this.socket.onclose = null;
    this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  /** @param {any} event */
  heard(event) {
    this.expectMessage();
    this.failures = 0;
    this.stopPolling();
    if (event.type === 'stats') learn(event.at);
    this.moved('live', event.type === 'stats' ? { stats: event } : {});
  }

  /**
   * The picture moved.
   * @param {import('./types.js').LiveState} live
   * @param {Partial<Shared>} changes
   */
  moved(live, changes) {
    this.store.set({ ...changes, live, staleSinceMs: null, tick: this.store.value.tick + 1 });
  }

  lost() {
    this.socket = null;
    clearTimeout(this.silenceTimer);
    this.failures += 1;
    const most = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(this.failures, 10));
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), most * (0.5 + Math.random() / 2));
    if (this.pollTimer === 0) {
      this.grewStale();
      void this.poll();
    }
  }

  grewStale() {
    if (this.store.value.live !== 'stale') this.store.set({ live: 'stale', staleSinceMs: Date.now() });
  }

  /** Ask for the numbers the socket would bring, and again while it is away. */
  async poll() {
    this.pollTimer = setTimeout(() => void this.poll(), POLL_MS);
    try {
      const stats = await calls.stats(AbortSignal.timeout(POLL_MS));
      if (this.pollTimer === 0) return;
      const isBack = this.store.value.live === 'stale';
      this.moved('polling', { stats });
      // It was away altogether: the feed may be back, too, and need not wait for its turn.
      if (isBack) this.connect();
    } catch (error) {
      if (this.pollTimer === 0) return;
      // Told no: the broker is there, but this key may not read. Then nothing is stale, there is just nothing.
      if (error instanceof ApiError && error.status === 403) this.store.set({ live: 'polling' });
      else this.grewStale();
    }
  }

  stopPolling() {
    clearTimeout(this.pollTimer);
    this.pollTimer = 0;
  }

  expectMessage() {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => {
      this.close();
      this.lost();
    }, SILENCE_MS_MAX);
  }

  visibilityChanged() {
    clearTimeout(this.hiddenTimer);
    if (!this.isOn) return;
    if (!document.hidden) {
      if (this.socket === null) this.connect();
      return;
    }
    this.hiddenTimer = setTimeout(() => {
      this.close();
      this.stopPolling();
      clearTimeout(this.retryTimer);
      this.grewStale();
    }, HIDDEN_MS_MAX);
  }
}
