/**
 * @file The broker's time. Ages are counted by its clock and not by the visitor's, which may be minutes off; the live
 * feed carries it.
 */

let offsetMs = 0;

/** Learn what time it is at the broker. @param {string} at ISO 8601 */
export function learn(at) {
  const theirs = Date.parse(at);
  if (Number.isFinite(theirs)) offsetMs = theirs - Date.now();
}

/** Milliseconds since 1970 at the broker, about. */
export function nowMs() {
  return Date.now() + offsetMs;
}
