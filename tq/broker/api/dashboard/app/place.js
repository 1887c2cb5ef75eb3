/**
 * @file Where on a page the visitor was: how far down, and on which link. An entry of the history keeps it, so that "back"
 * leads there, and not to the top of the page.
 */

/**
 * @typedef {object} Place
 * @property {number} top how far the page was scrolled
 * @property {string|null} href of the link that had the focus; null = none had
 * @property {string|null} row of the table it was in
 */

/** @returns {Place} */
export function placeNow() {
  const link = document.activeElement?.closest('main a');
  return {
    top: scrollY,
    href: link?.getAttribute('href') ?? null,
    row: link?.closest('tr')?.getAttribute('data-id') ?? null,
  };
}

/** Go there, as far as it is still to be found. @param {Place} place */
export function goTo({ top, href, row }) {
  scrollTo(0, top);
  const links = [...document.querySelectorAll('main a')].filter((link) => link.getAttribute('href') === href);
  const found =
    links.find((link) => (link.closest('tr')?.getAttribute('data-id') ?? null) === row) ?? links[0];
  if (found instanceof HTMLElement) found.focus({ preventScroll: true });
}
