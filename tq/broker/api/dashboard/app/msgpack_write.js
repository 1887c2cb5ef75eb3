/**
 * @file Writes msgpack from JSON, so that a Python task can be submitted by hand. Each value takes the shortest form, as
 * Python's msgpack does.
 */

const INT_BITS_MAX = 64;

/**
 * The bytes of a JSON text. Throws SyntaxError for what is none, RangeError for an integer that fits in no 64 bits.
 * @param {string} json
 * @returns {Uint8Array}
 */
export function packJson(json) {
  /** @type {number[]} */
  const out = [];
  write(JSON.parse(json, exact), out);
  return Uint8Array.from(out);
}

/**
 * A number as it was written: an integer that a double cannot hold becomes a bigint.
 * @param {string} _name
 * @param {any} value
 * @param {{source?: string}} [context]
 */
function exact(_name, value, context) {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || !Number.isInteger(value)) return value;
  // A browser too old to say how the number was written cannot know it.
  if (context?.source === undefined)
    throw new RangeError('this browser cannot read so large a number exactly');
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}

/** @param {any} value @param {number[]} out */
function write(value, out) {
  if (value === null) out.push(0xc0);
  else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2);
  else if (typeof value === 'bigint') writeLarge(value, out);
  else if (typeof value === 'number') writeNumber(value, out);
  else if (typeof value === 'string') writeText(value, out);
  else if (Array.isArray(value)) {
    head(value.length, out, 0x90, [null, 0xdc, 0xdd]);
    for (const one of value) write(one, out);
  } else {
    const entries = Object.entries(value);
    head(entries.length, out, 0x80, [null, 0xde, 0xdf]);
    for (const [name, one] of entries) {
      writeText(name, out);
      write(one, out);
    }
  }
}

/**
 * The tag of what has a length.
 * @param {number} length
 * @param {number[]} out
 * @param {number} short of the form that holds the length itself
 * @param {(number|null)[]} tags of the forms with a length of 1, 2 and 4 bytes
 */
function head(length, out, short, tags) {
  const sizes = [1, 2, 4];
  if (length < (short === 0xa0 ? 32 : 16)) {
    out.push(short | length);
    return;
  }
  const at = tags.findIndex(
    (tag, index) => tag !== null && length < 2 ** (8 * /** @type {number} */ (sizes[index])),
  );
  out.push(/** @type {number} */ (tags[at]));
  bigEndian(length, /** @type {number} */ (sizes[at]), out);
}

/** @param {string} text @param {number[]} out */
function writeText(text, out) {
  const encoded = new TextEncoder().encode(text);
  head(encoded.length, out, 0xa0, [0xd9, 0xda, 0xdb]);
  for (const byte of encoded) out.push(byte);
}

/** @param {number} value @param {number[]} out */
function writeNumber(value, out) {
  if (!Number.isSafeInteger(value)) {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setFloat64(0, value);
    out.push(0xcb, ...new Uint8Array(bytes.buffer));
  } else if (value >= 0) {
    if (value < 0x80) out.push(value);
    else sized(value, out, 0xcc, (bits) => value < 2 ** bits);
  } else if (value >= -0x20) out.push(value + 0x100);
  else sized(value, out, 0xd0, (bits) => value >= -(2 ** (bits - 1)));
}

/** @param {bigint} value @param {number[]} out */
function writeLarge(value, out) {
  const fits = value < 0n ? BigInt.asIntN(INT_BITS_MAX, value) : BigInt.asUintN(INT_BITS_MAX, value);
  if (fits !== value) throw new RangeError(`${value} is more than 64 bits hold`);
  out.push(value < 0n ? 0xd3 : 0xcf);
  bigEndian(value, INT_BITS_MAX / 8, out);
}

/** @param {number} value @param {number[]} out @param {number} tag of the form of one byte @param {(bits: number) => boolean} fits */
function sized(value, out, tag, fits) {
  const power = [0, 1, 2].find((one) => fits(8 << one)) ?? 3;
  out.push(tag + power);
  bigEndian(value, 1 << power, out);
}

/** @param {number|bigint} value @param {number} size @param {number[]} out */
function bigEndian(value, size, out) {
  let rest = BigInt.asUintN(8 * size, BigInt(value));
  const bytes = Array.from({ length: size }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
  out.push(...bytes.reverse());
}
