/** @file The few icons there are, as strokes on a 16 × 16 grid. They decorate: words beside them carry the meaning. */

import { s } from '../app/dom.js';

const PATHS = /** @type {const} */ ({
  alert: 'M8 2 15 14H1L8 2ZM8 6.5v3.2M8 11.6v.4',
  info: 'M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8ZM8 7.3v3.9M8 4.8v.4',
  check: 'm2.5 8.5 3.6 3.6 7.4-8',
  close: 'm3.5 3.5 9 9m0-9-9 9',
  right: 'm6 3.5 4.5 4.5L6 12.5',
  down: 'm3.5 6 4.5 4.5L12.5 6',
  up: 'm3.5 10 4.5-4.5 4.5 4.5',
  overview: 'M2 9.5h3l2-6 3 9 2-4.5h2',
  tasks: 'M2.5 4h11M2.5 8h11M2.5 12h7',
  workers: 'M3 3h10v10H3zM6 6h4v4H6zM6 1v2m4-2v2M6 13v2m4-2v2M1 6h2m-2 4h2m10-4h2m-2 4h2',
  queues: 'M2 3.5h5v3H2zM2 9.5h8v3H2zM10 3.5h4v3h-4z',
  dlq: 'M3 5.5h10l-.8 8.5H3.8L3 5.5ZM1.8 2.8h12.4v2.7H1.8zM6.3 8.2l3.4 3.4m0-3.4-3.4 3.4',
  cluster:
    'M8 2.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6ZM3.4 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6ZM12.6 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6ZM7.1 5.6l-2.8 4.8m4.6-4.8 2.8 4.8M5.2 12h5.6',
  pause: 'M5 3v10m6-10v10',
  play: 'M4.5 2.8 13 8l-8.5 5.2V2.8Z',
  retry: 'M13 8a5 5 0 1 1-1.6-3.7M13 2v3.2H9.8',
  plus: 'M8 3v10M3 8h10',
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9Zm3.4 7.9 3.4 3.4',
  theme: 'M8 2a6 6 0 1 0 6 6 4.5 4.5 0 0 1-6-6Z',
  key: 'M5 7a3 3 0 1 1 0 6 3 3 0 0 1 0-6Zm2.2.8L13.5 1.5M11 4l2 2',
});

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return s(
    'svg',
    { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' },
    s('path', { d: PATHS[name] }),
  );
}
