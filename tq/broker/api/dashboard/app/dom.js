/**
 * @file Builds and updates the document. Nothing here ever takes HTML: what comes from outside becomes text nodes and
 * attributes, so that a payload or an error text is shown and never run. What cannot be seen in a text, or would turn the
 * text around it, is written as an escape.
 *
 * Pages draw themselves anew as a tree of nodes; `patch` changes the document into that tree and keeps every node that
 * may stay, so that focus, selection, scroll, open details and half-typed text survive.
 */

import { legible } from './format.js';

/** @typedef {Node|string|number|null|undefined|false} Child */
/** @typedef {Child|Child[]} Children */
/** @typedef {Object<string, unknown>} Properties */

const SVG = 'http://www.w3.org/2000/svg';
/** Handlers are properties, and no listeners, because `patch` has to replace those of the node that stays. */
const HANDLERS = /** @type {const} */ ([
  'onclick',
  'onchange',
  'oninput',
  'onsubmit',
  'onkeydown',
  'onpointermove',
  'onpointerleave',
  'ontoggle',
  'onfocus',
  'onblur',
]);
/** Attributes that are read. */
const NAMES_READ = new Set(['title', 'aria-label']);
/** Attributes that refuse to come from data: they would be code or style. */
const NAMES_REFUSED = /^(srcdoc|style)$|^on/;

/** @type {WeakMap<Node, string>} */
const keys = new WeakMap();
/** What fills an element once it gets into the document. @type {WeakMap<Element, () => Children>} */
const fillings = new WeakMap();

/**
 * An element.
 *
 * properties: attributes by name; `true` is an empty one, `false` and null none. `on...`: a handler. `checked`,
 * `indeterminate`, `disabled`: the property. `key`: which of its siblings it is, from one drawing to the next.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties|null} [properties]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  dress(node, properties ?? {});
  append(node, children);
  return node;
}

/**
 * An element of a drawing, as `h`.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Properties|null} [properties]
 * @param {...Children} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  dress(node, properties ?? {});
  append(node, children);
  return /** @type {SVGElementTagNameMap[T]} */ (node);
}

/**
 * An element whose content is large and does not change: it is built when it comes into the document, and left alone by
 * later drawings that give the same `version`.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} properties
 * @param {string} version
 * @param {() => Children} build
 */
export function still(tag, properties, version, build) {
  const node = h(tag, { ...properties, 'data-still': version });
  fillings.set(node, build);
  return node;
}

/** Build what stands still in a part of the document that is new. @param {Node} node */
function fill(node) {
  if (!(node instanceof Element)) return;
  for (const part of [node, ...node.querySelectorAll('[data-still]')]) {
    const build = fillings.get(part);
    if (build !== undefined) append(part, [build()].flat());
    fillings.delete(part);
  }
}

/**
 * @param {Element} node
 * @param {Properties} properties
 */
function dress(node, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === 'key') keys.set(node, String(value));
    else if (typeof value === 'function') /** @type {any} */ (node)[name] = value;
    else if (name === 'checked' || name === 'indeterminate') /** @type {any} */ (node)[name] = value;
    else if (NAMES_REFUSED.test(name)) throw new Error(`the attribute ${name} is not for data`);
    else if (value !== false) node.setAttribute(name, textOf(name, value));
  }
}

/** @param {string} name @param {unknown} value */
function textOf(name, value) {
  if (value === true) return '';
  return NAMES_READ.has(name) ? legible(String(value)) : String(value);
}

/**
 * @param {Node} node
 * @param {Children[]} children
 */
function append(node, children) {
  // What is edited is sent again as it stands.
  const written =
    node instanceof HTMLTextAreaElement ? String : (/** @type {unknown} */ one) => legible(String(one));
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(written(child)));
  }
}

/**
 * Make the children of `parent` what `wanted` says.
 * @param {Node} parent
 * @param {Node[]} wanted
 */
export function patch(parent, wanted) {
  const byKey = keyed(parent, wanted);
  let place = parent.firstChild;
  for (const next of wanted) {
    const key = keys.get(next);
    const found = key === undefined ? place : (byKey.get(key) ?? null);
    if (found !== null && isSame(found, next)) {
      if (found !== place) parent.insertBefore(found, place);
      update(found, next);
      place = found.nextSibling;
    } else {
      fill(next);
      parent.insertBefore(next, place);
    }
  }
  while (place !== null) {
    const after = place.nextSibling;
    parent.removeChild(place);
    place = after;
  }
}

/**
 * The children that have a key, without those nobody wants any more: they go first, so that those that stay need not
 * be moved, which would cost them the focus.
 * @param {Node} parent
 * @param {Node[]} wanted
 */
function keyed(parent, wanted) {
  const wantedKeys = new Set(wanted.map((node) => keys.get(node)));
  /** @type {Map<string, ChildNode>} */
  const found = new Map();
  for (const child of [...parent.childNodes]) {
    const key = keys.get(child);
    if (key === undefined) continue;
    if (wantedKeys.has(key)) found.set(key, child);
    else parent.removeChild(child);
  }
  return found;
}

/**
 * @param {Node} old
 * @param {Node} next
 */
function isSame(old, next) {
  return (
    old.nodeName === next.nodeName && keys.get(old) === keys.get(next) && versionOf(old) === versionOf(next)
  );
}

/** @param {Node} node */
function versionOf(node) {
  return node instanceof Element ? node.getAttribute('data-still') : null;
}

/**
 * @param {Node} old
 * @param {Node} next
 */
function update(old, next) {
  if (!(old instanceof Element) || !(next instanceof Element)) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  const valueBefore = old.getAttribute('value');
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && name !== 'open') old.setAttribute(name, value);
  }
  const to = /** @type {any} */ (old);
  const from = /** @type {any} */ (next);
  for (const name of HANDLERS) if (to[name] !== from[name]) to[name] = from[name];
  if (old instanceof HTMLInputElement) {
    to.checked = from.checked;
    to.indeterminate = from.indeterminate;
    // What somebody is typing stays; what the page itself sets anew, say after "back", is shown.
    if (valueBefore !== next.getAttribute('value')) to.value = from.value;
  }
  if (versionOf(old) === null) patch(old, [...next.childNodes]);
  if (old instanceof HTMLSelectElement && to.value !== from.value) to.value = from.value;
}

/**
 * The element of this id. Throws when the shell has none.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element #${id}`);
  return found;
}
