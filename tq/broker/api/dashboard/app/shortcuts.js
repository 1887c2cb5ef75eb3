/** @file Keys that do something anywhere, except where somebody types. */

const CHORD_MS_MAX = 1_200;

/** keys, what they do; one list for the handler, the help and the documentation */
export const SHORTCUTS = /** @type {[string, string][]} */ ([
  ['/', 'Search'],
  ['g o', 'Overview'],
  ['g t', 'Tasks'],
  ['g w', 'Workers'],
  ['g q', 'Queues'],
  ['g d', 'Dead letters'],
  ['g c', 'Cluster'],
  ['j', 'Next row'],
  ['k', 'Row before'],
  ['x', 'Select the row'],
  ['Enter', 'Open the row'],
  ['n', 'Submit a task'],
  ['r', 'Read again'],
  ['t', 'Light or dark'],
  ['?', 'This list'],
]);

const PAGES = /** @type {Record<string, string>} */ ({
  o: '/',
  t: '/tasks',
  w: '/workers',
  q: '/queues',
  d: '/dlq',
  c: '/cluster',
});

/**
 * Listen for them.
 * @param {{go: (address: string) => void, help: () => void, reload: () => void}} actions
 */
export function setUpShortcuts({ go, help, reload }) {
  let chordUntil = 0;
  const single = /** @type {Record<string, () => void>} */ ({
    '/': () => press('#search input'),
    '?': help,
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement?.closest('tr')?.querySelector('input')?.click(),
    n: () => go('/tasks?submit=1'),
    r: reload,
    t: () => document.getElementById('theme')?.click(),
  });
  document.addEventListener('keydown', (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      isTyping(event.target) ||
      document.querySelector('dialog[open]')
    )
      return;
    const page = performance.now() < chordUntil ? PAGES[event.key] : undefined;
    chordUntil = event.key === 'g' ? performance.now() + CHORD_MS_MAX : 0;
    const act = page === undefined ? single[event.key] : () => go(page);
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
}

/** @param {EventTarget|null} target */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.matches('textarea, select, input:not([type=checkbox])') || target.isContentEditable;
}

/** @param {string} selector */
function press(selector) {
  const found = document.querySelector(selector);
  if (found instanceof HTMLElement) found.focus();
}

/** Go to the link of the row above or below. @param {number} by */
function step(by) {
  const links = [...document.querySelectorAll('main tbody tr')]
    .map((row) => row.querySelector('a, button'))
    .filter((link) => link instanceof HTMLElement);
  const row = document.activeElement?.closest('tr');
  const at = links.findIndex((link) => link.closest('tr') === row);
  const next = at === -1 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next]?.focus();
}
