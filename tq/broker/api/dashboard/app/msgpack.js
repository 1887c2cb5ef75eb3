/**
 * @file Reads msgpack, which arguments and results of Python tasks travel as, into text that looks like JSON. It never
 * builds values: large integers stay exact, and bytes and extensions are named as what they are.
 */

const DEPTH_MAX = 64;

/** The bytes are no msgpack, or not all of them, or nested deeper than anybody would read. */
class NotMsgpack extends Error {}

/**
 * The text of one value that fills all of `data`; null when that is not what it holds.
 * @param {Uint8Array} data
 * @returns {string|null}
 */
export function msgpackText(data) {
  const reader = new Reader(data);
  try {
    const text = reader.value(0);
    return reader.at === data.length ? text : null;
  } catch (error) {
    if (error instanceof NotMsgpack || error instanceof RangeError || error instanceof TypeError) return null;
    throw error;
  }
}

class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = 0;
  }

  /** @param {number} depth @returns {string} */
  value(depth) {
    if (depth > DEPTH_MAX) throw new NotMsgpack();
    const tag = this.number(1);
    if (tag < 0x80) return String(tag);
    if (tag < 0x90) return this.map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.list(tag & 0x0f, depth);
    if (tag < 0xc0) return this.text(tag & 0x1f);
    if (tag >= 0xe0) return String(tag - 0x100);
    return this.tagged(tag, depth);
  }

  /** @param {number} tag @param {number} depth */
  // One line a form, as the specification has them.
  // prettier-ignore
  tagged(tag, depth) {
    switch (tag) {
      case 0xc0: return 'null';
      case 0xc2: return 'false';
      case 0xc3: return 'true';
      case 0xc4: case 0xc5: case 0xc6: return this.binary(this.number(1 << (tag - 0xc4)));
      case 0xc7: case 0xc8: case 0xc9: return this.extension(this.number(1 << (tag - 0xc7)));
      case 0xca: return String(this.view.getFloat32(this.skip(4)));
      case 0xcb: return String(this.view.getFloat64(this.skip(8)));
      case 0xcc: case 0xcd: case 0xce: return String(this.number(1 << (tag - 0xcc)));
      case 0xcf: return String(this.view.getBigUint64(this.skip(8)));
      case 0xd0: return String(this.view.getInt8(this.skip(1)));
      case 0xd1: return String(this.view.getInt16(this.skip(2)));
      case 0xd2: return String(this.view.getInt32(this.skip(4)));
      case 0xd3: return String(this.view.getBigInt64(this.skip(8)));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this.extension(1 << (tag - 0xd4));
      case 0xd9: case 0xda: case 0xdb: return this.text(this.number(1 << (tag - 0xd9)));
      case 0xdc: case 0xdd: return this.list(this.number(2 << (tag - 0xdc)), depth);
      case 0xde: case 0xdf: return this.map(this.number(2 << (tag - 0xde)), depth);
      default: throw new NotMsgpack();
    }
  }

  /** Big-endian, of 1, 2 or 4 bytes. @param {number} size */
  number(size) {
    const at = this.skip(size);
    return size === 1
      ? this.view.getUint8(at)
      : size === 2
        ? this.view.getUint16(at)
        : this.view.getUint32(at);
  }

  /** Go on by so many bytes. @param {number} size @returns {number} where they begin */
  skip(size) {
    const at = this.at;
    if (at + size > this.data.length) throw new NotMsgpack();
    this.at += size;
    return at;
  }

  /** @param {number} size */
  text(size) {
    const at = this.skip(size);
    return JSON.stringify(
      new TextDecoder('utf-8', { fatal: true }).decode(this.data.subarray(at, at + size)),
    );
  }

  /** @param {number} size */
  binary(size) {
    const at = this.skip(size);
    return JSON.stringify(
      `<${size} bytes: ${hexOf(this.data.subarray(at, at + Math.min(size, 32)))}${size > 32 ? '…' : ''}>`,
    );
  }

  /** @param {number} size */
  extension(size) {
    const kind = this.view.getInt8(this.skip(1));
    this.skip(size);
    return JSON.stringify(`<extension ${kind}, ${size} bytes>`);
  }

  /** @param {number} size @param {number} depth */
  list(size, depth) {
    if (size > this.data.length) throw new NotMsgpack();
    return `[${Array.from({ length: size }, () => this.value(depth + 1)).join(',')}]`;
  }

  /** @param {number} size @param {number} depth */
  map(size, depth) {
    if (size > this.data.length) throw new NotMsgpack();
    const entry = () => {
      const name = this.value(depth + 1);
      return `${name.startsWith('"') ? name : JSON.stringify(name)}:${this.value(depth + 1)}`;
    };
    return `{${Array.from({ length: size }, entry).join(',')}}`;
  }
}

/** @param {Uint8Array} data */
function hexOf(data) {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
