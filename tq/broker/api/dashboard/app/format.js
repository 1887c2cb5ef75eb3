/** @file Numbers, durations and bytes as people read them. */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const SCALES = /** @type {[number, string][]} */ ([
  [1e9, 'G'],
  [1e6, 'M'],
  [1e4, 'k'],
]);
const UNITS = /** @type {[number, string][]} */ ([
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1000, 's'],
]);

/** `1,204`. @param {number} value */
export function count(value) {
  return whole.format(value);
}

/** `1,204`, `12.3k`, `4.1M`: where there is little room. @param {number} value */
export function brief(value) {
  for (const [scale, letter] of SCALES) {
    if (Math.abs(value) >= scale) return `${short(value / (letter === 'k' ? 1000 : scale))}${letter}`;
  }
  return whole.format(value);
}

/** @param {number} value */
function short(value) {
  return value >= 100 ? whole.format(value) : value.toFixed(1).replace(/\.0$/, '');
}

/** `count` things, in singular or plural. @param {number} value @param {string} one @param {string} [many] */
export function things(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A duration: `3 ms`, `1.2 s`, `4m 10s`, `3h 5m`, `2d 4h`. @param {number|null|undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${short(Math.floor(ms / 100) / 10)} s`;
  const [first, second] = split(ms);
  return second === '' ? first : `${first} ${second}`;
}

/** An estimate, with no more digits than it is worth: `≈ 40 ms`, `≈ 1.5 s`, `≈ 3 min`. @param {number} ms */
export function about(ms) {
  if (ms >= 3_600_000) return `≈ ${short(Math.round(ms / 360_000) / 10)} h`;
  if (ms >= 60_000) return `≈ ${Math.round(ms / 60_000)} min`;
  const digits = Number(ms.toPrecision(2));
  return digits < 1000 ? `≈ ${digits} ms` : `≈ ${short(digits / 1000)} s`;
}

/** The two largest units. @param {number} ms @returns {[string, string]} */
function split(ms) {
  const at = UNITS.findIndex(([size]) => ms >= size);
  const [size, letter] = /** @type {[number, string]} */ (UNITS[at]);
  const next = UNITS[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next[0]);
  return [`${Math.floor(ms / size)}${letter}`, rest > 0 && next !== undefined ? `${rest}${next[1]}` : ''];
}

/** `512 B`, `1.4 MB`. @param {number} value */
export function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 ? value : short(value)} ${units[at]}`;
}

/** Tasks a minute as a rate: `42/s` from one a second on, `12/min` below. @param {number|null|undefined} perMinute */
export function rate(perMinute) {
  if (perMinute === null || perMinute === undefined) return '–';
  return perMinute >= 600 ? `${brief(perMinute / 60)}/s` : `${short(perMinute)}/min`;
}

/** The first line of a text, cut to `length` characters. @param {string|null} text @param {number} length */
export function firstLine(text, length) {
  const line = (text ?? '').trim().split('\n', 1)[0] ?? '';
  return clipped(line, length);
}

/** What the interfaces call otherwise than people do. @type {Record<string, string>} */
const SAID = { failed: 'retrying' };

/** The beginning of what is too long for its place. @param {string} text @param {number} length */
export function clipped(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** A status or an outcome as words: an attempt of a `failed` task failed, and a retry is due. @param {string} word */
export function words(word) {
  return SAID[word] ?? word.replaceAll('_', ' ');
}

/** What is not seen, or moves what is: controls, bidi marks, zero width, odd spaces, a space at an end or beside another. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|^ | $|(?<= ) |\\(?=u\{)/gu;

/** The same in a text, whose lines, tabs and spaces are its own. */
const UNSEEN_IN_TEXT = /(?![\n\t]|\r\n)[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const ESCAPE = /\\u\{([0-9a-f]{1,6})\}/gi;
const CODE_POINT_MAX = 0x10ffff;

/** A name from outside, so that two that differ never look alike for what cannot be seen: `a\u{200b}`. @param {string} name */
export function visible(name) {
  return name.replace(UNSEEN, escaped);
}

/** The name that was typed as `visible` shows it. @param {string} shown */
export function meant(shown) {
  return shown.replace(ESCAPE, (all, digits) => {
    const code = parseInt(digits, 16);
    return code > CODE_POINT_MAX ? all : String.fromCodePoint(code);
  });
}

/** A text from outside, so that nothing in it hides or moves what stands beside it. @param {string} text */
export function legible(text) {
  return text.replace(UNSEEN_IN_TEXT, escaped);
}

/** @param {string} one */
function escaped(one) {
  return `\\u{${one.codePointAt(0)?.toString(16)}}`;
}
