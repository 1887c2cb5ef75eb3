/**
 * @file The key, and what it may do. The key lives in this tab's session storage and nowhere else: not in an address,
 * not in a cookie, and it is gone with the tab.
 */

const NAME = 'tq.key';

/** The key, empty when there is none. */
export function key() {
  return sessionStorage.getItem(NAME) ?? '';
}

/** @param {string} text */
export function setKey(text) {
  sessionStorage.setItem(NAME, text);
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/**
 * Whether whoever holds the key may do what takes `permission`.
 * @param {import('./types.js').Me|null} me
 * @param {import('./types.js').Permission} permission
 */
export function may(me, permission) {
  return me !== null && (me.permissions.includes(permission) || me.permissions.includes('admin'));
}
