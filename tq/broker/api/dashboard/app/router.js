/** @file Addresses: which page belongs to one, and links that change it without loading the document anew. */

import { placeNow } from './place.js';

/** @typedef {import('./types.js').Route} Route */
/** @typedef {import('./place.js').Place} Place */
/** @typedef {() => Promise<import('./types.js').Page<any, any>>} Finder fetches a page's module */

export class Router {
  /**
   * @param {[RegExp, Finder][]} table the first that fits
   * @param {Finder} missing where none does
   * @param {(find: Finder, route: Route, how: {isNew: boolean, place: Place|null}) => void} show isNew: another page, or
   *   the same with another path, and not just with another query; place: where on it the visitor was before
   */
  constructor(table, missing, show) {
    this.table = table;
    this.missing = missing;
    this.show = show;
    this.shownPath = '';
    window.addEventListener('popstate', (event) => this.follow({ place: event.state?.place ?? null }));
    document.addEventListener('click', (event) => this.clicked(event));
  }

  /** Show what the address says. @param {{isNew?: boolean, place?: Place|null}} [how] isNew: even where it is shown already */
  follow(how = {}) {
    const { find, route } = this.resolve(new URL(location.href));
    const isNew = how.isNew ?? route.path !== this.shownPath;
    this.shownPath = route.path;
    this.show(find, route, { isNew, place: how.place ?? null });
  }

  /** @param {string} address @param {{replace?: boolean}} [how] replace: "back" skips what is shown now */
  go(address, how = {}) {
    const url = new URL(address, location.href);
    if (how.replace ?? url.href === location.href) history.replaceState(null, '', url);
    else {
      history.replaceState({ place: placeNow() }, '');
      history.pushState(null, '', url);
    }
    this.follow();
  }

  /** @param {URL} url @returns {{find: Finder, route: Route}} */
  resolve(url) {
    const path = url.pathname.length > 1 ? url.pathname.replace(/\/+$/, '') : url.pathname;
    for (const [pattern, find] of this.table) {
      const match = pattern.exec(path);
      if (match !== null) {
        return { find, route: { path, params: match.slice(1).map(decoded), query: url.searchParams } };
      }
    }
    return { find: this.missing, route: { path, params: [], query: url.searchParams } };
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return;
    const url = new URL(link.href);
    if (url.pathname === location.pathname && url.hash !== '') return;
    if (!link.hasAttribute('data-link')) return;
    event.preventDefault();
    this.go(link.href);
  }
}

/** @param {string|undefined} part */
function decoded(part) {
  try {
    return decodeURIComponent(part ?? '');
  } catch {
    return part ?? '';
  }
}

/**
 * An address with a query; what is null or empty is left out.
 * @param {string} path
 * @param {Object<string, string|null|undefined>} query
 */
export function address(path, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') search.set(name, value);
  }
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}
