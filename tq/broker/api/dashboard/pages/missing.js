/** @file An address that no page has. */

import { h } from '../app/dom.js';
import { nothing } from '../components/notice.js';

/** @type {import('../app/types.js').Page<null, null>} */
export const missing = {
  name: 'missing',
  heading: 'No such page',
  title: () => 'No such page',
  state: () => null,
  everyMs: Infinity,
  load: async () => null,
  draw: ({ route }) => [
    h('h1', null, 'No such page'),
    nothing(
      `There is nothing at ${route.path}`,
      h('a', { href: '/', 'data-link': true }, 'Go to the overview'),
    ),
  ],
};
