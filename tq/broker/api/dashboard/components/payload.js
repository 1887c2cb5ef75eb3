/**
 * @file Shows bytes: as JSON, as msgpack, as text, as hex. Only what is small is fetched without being asked for, and
 * only the beginning of what is long is laid out; all of it can be saved.
 */

import { h, still } from '../app/dom.js';
import { bytes as size, count } from '../app/format.js';
import { msgpackText } from '../app/msgpack.js';
import { jsonNodes } from './json.js';

/** Fetched and shown at once up to here. */
export const SMALL_BYTES = 64 * 1024;
const TEXT_CHARS_MAX = 64 * 1024;
const HEX_BYTES_MAX = 4 * 1024;
const HEX_LINE = 16;
const MSGPACK_BYTES_MAX = 1024 * 1024;
const COLOURED_CHARS_MAX = 32 * 1024;

/** @typedef {'json'|'msgpack'|'text'|'hex'} Form */
const WORDS = /** @type {Record<Form, string>} */ ({
  json: 'JSON',
  msgpack: 'msgpack',
  text: 'Text',
  hex: 'Hex',
});

/**
 * @typedef {object} Payload
 * @property {string} name `payload` or `result`
 * @property {Uint8Array|null} data null = not fetched
 * @property {number} length
 * @property {{form: Form|null}} choice which form the visitor chose; changed here
 * @property {() => void} redraw
 * @property {() => void} fetch ask for the bytes
 */

/** @param {Payload} payload @returns {HTMLElement} */
export function payloadView(payload) {
  const { data, name } = payload;
  if (payload.length === 0)
    return h('div', { class: 'payload', 'data-test': name }, h('p', { class: 'faint' }, 'empty'));
  if (data === null) {
    return h(
      'div',
      { class: 'payload', 'data-test': name },
      h('p', { class: 'faint' }, size(payload.length), ' '),
      h(
        'button',
        { type: 'button', class: 'small', 'data-test': `load-${name}`, onclick: payload.fetch },
        'Load it',
      ),
    );
  }
  const texts = formsOf(data);
  const forms = /** @type {Form[]} */ (Object.keys(texts));
  const form =
    payload.choice.form !== null && forms.includes(payload.choice.form)
      ? payload.choice.form
      : (forms[0] ?? 'hex');
  return h(
    'div',
    { class: 'payload', 'data-test': name, 'data-form': form },
    h(
      'header',
      null,
      tabs(payload, forms, form),
      h('span', { class: 'faint' }, size(payload.length)),
      save(name, data),
    ),
    body(payload, form, texts[form] ?? '', data),
  );
}

/** @type {WeakMap<Uint8Array, Partial<Record<Form, string>>>} */
const known = new WeakMap();

/**
 * How the bytes can be read, the most telling first.
 * @param {Uint8Array} data
 * @returns {Partial<Record<Form, string>>}
 */
function formsOf(data) {
  const before = known.get(data);
  if (before !== undefined) return before;
  /** @type {Partial<Record<Form, string>>} */
  const found = {};
  known.set(data, found);
  const text = utf8(data);
  if (text !== null && isJson(text)) found.json = text;
  const packed = found.json === undefined && data.length <= MSGPACK_BYTES_MAX ? msgpackText(data) : null;
  // A single small number is what any stray byte is, too.
  if (packed !== null && /^["[{]/.test(packed)) found.msgpack = packed;
  if (text !== null) found.text = text;
  found.hex = '';
  return found;
}

/** The text these bytes are; null when they are none. @param {Uint8Array} data */
export function utf8(data) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return null;
  }
}

/** @param {string} text */
function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** @param {Payload} payload @param {Form[]} forms @param {Form} shown */
function tabs(payload, forms, shown) {
  const choose = (/** @type {Form} */ form) => {
    payload.choice.form = form;
    payload.redraw();
  };
  return h(
    'div',
    { class: 'tabs', role: 'group', 'aria-label': `Show the ${payload.name} as` },
    forms.map((form) =>
      h(
        'button',
        {
          type: 'button',
          'aria-pressed': String(form === shown),
          'data-test': `as-${form}`,
          onclick: () => choose(form),
        },
        WORDS[form],
      ),
    ),
  );
}

/** @param {Payload} payload @param {Form} form @param {string} text @param {Uint8Array} data */
function body(payload, form, text, data) {
  const isHex = form === 'hex';
  const length = isHex ? data.length : text.length;
  const most = isHex ? HEX_BYTES_MAX : TEXT_CHARS_MAX;
  const isWhole = length <= most;
  const isPlain = form === 'text' || !isWhole || length > COLOURED_CHARS_MAX;
  const build = () =>
    isHex ? hexDump(data.subarray(0, most)) : isPlain ? text.slice(0, most) : jsonNodes(text);
  return [
    h(
      'pre',
      {
        tabindex: '0',
        role: 'region',
        'aria-label': `${payload.name} as ${WORDS[form]}`,
        key: `${payload.name}-${form}`,
      },
      still('code', {}, `${form}-${length}`, build),
    ),
    isWhole
      ? null
      : h(
          'p',
          { class: 'faint' },
          `The first ${count(most)} of ${count(length)} ${isHex ? 'bytes' : 'characters'}; save it to see the rest.`,
        ),
  ];
}

/** Offset, sixteen bytes, and what they are as characters. @param {Uint8Array} data */
function hexDump(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += HEX_LINE) {
    const line = [...data.subarray(at, at + HEX_LINE)];
    const hex = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const characters = line
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'))
      .join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(HEX_LINE * 3)} ${characters}`);
  }
  return lines.join('\n');
}

/** @param {string} name @param {Uint8Array} data */
function save(name, data) {
  return h('button', { type: 'button', class: 'small', onclick: () => download(name, data) }, 'Save');
}

/** @param {string} name @param {Uint8Array} data */
function download(name, data) {
  const url = URL.createObjectURL(
    new Blob([/** @type {BlobPart} */ (data)], { type: 'application/octet-stream' }),
  );
  h('a', { href: url, download: `${name}.bin` }).click();
  URL.revokeObjectURL(url);
}

/** @param {string} text base64 */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** @param {Uint8Array} data */
export function toBase64(data) {
  let text = '';
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}
