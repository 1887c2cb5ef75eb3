/** @file A value that tells those who listen when it changes: all the shared state there is. */

/**
 * @template {object} T
 */
export class Store {
  /** @param {T} value */
  constructor(value) {
    /** @type {T} */
    this.value = value;
    /** @type {Set<(value: T, before: T) => void>} */
    this.listeners = new Set();
  }

  /**
   * Change some fields. Nobody is told when they are what they were.
   * @param {Partial<T>} changes
   */
  set(changes) {
    const before = this.value;
    const names = /** @type {(keyof T)[]} */ (Object.keys(changes));
    if (names.every((name) => before[name] === changes[name])) return;
    this.value = { ...before, ...changes };
    for (const listener of [...this.listeners]) listener(this.value, before);
  }

  /**
   * Call `listener` after every change. Returns what ends that.
   * @param {(value: T, before: T) => void} listener
   * @returns {() => void}
   */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
