/**
 * @file JSON laid out and coloured, token by token from its text: a number of twenty digits is shown with all of them,
 * and a key that stands twice stands twice.
 */

import { h } from '../app/dom.js';

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity|[[\]{},:]/g;
const INDENT = '  ';
const INDENTS_MAX = 40;
/** What fits stands on one line. */
const LINE_CHARS_MAX = 64;

/**
 * The text as nodes, a token or a run of spaces each.
 * @param {string} text valid JSON
 * @returns {Node[]}
 */
export function jsonNodes(text) {
  const tokens = text.match(TOKENS) ?? [];
  const lengths = lengthsOf(tokens);
  /** @type {Node[]} */
  const nodes = [];
  /** @type {boolean[]} */
  const isInline = [];
  tokens.forEach((token, at) => {
    const isClosing = token === ']' || token === '}';
    const before = tokens[at - 1] ?? '';
    const isFlat = isInline.at(-1) ?? true;
    if (isClosing) isInline.pop();
    if (isFlat) nodes.push(document.createTextNode(before === ',' ? ' ' : ''));
    else if (isClosing || '[{,'.includes(before)) nodes.push(line(isInline.length));
    nodes.push(word(token, tokens[at + 1] === ':'));
    if (token === ':') nodes.push(document.createTextNode(' '));
    if (token === '[' || token === '{') isInline.push((lengths.get(at) ?? 0) <= LINE_CHARS_MAX);
  });
  return nodes;
}

/** How long what each bracket opens is on one line. @param {string[]} tokens @returns {Map<number, number>} */
function lengthsOf(tokens) {
  const found = new Map();
  /** @type {[number, number][]} */
  const open = [];
  let length = 0;
  tokens.forEach((token, at) => {
    length += token.length + (token === ',' || token === ':' ? 1 : 0);
    if (token === '[' || token === '{') open.push([at, length]);
    if (token !== ']' && token !== '}') return;
    const [start, before] = open.pop() ?? [at, length];
    found.set(start, length - before);
  });
  return found;
}

/** @param {number} depth deeper than `INDENTS_MAX` is not moved further in: it could not be read, and would cost its square */
function line(depth) {
  return document.createTextNode(`\n${INDENT.repeat(Math.min(depth, INDENTS_MAX))}`);
}

/** @param {string} token @param {boolean} isName */
function word(token, isName) {
  const kind = isName
    ? 'name'
    : token.startsWith('"')
      ? 'text'
      : /^[\d-]/.test(token)
        ? 'digits'
        : /^[a-zI]/.test(token)
          ? 'fixed'
          : '';
  return kind === '' ? document.createTextNode(token) : h('span', { class: kind }, token);
}
