/**
 * @file One HTTP call: the key, a time limit, and every failure as one kind of error that says whether to try again.
 * A call that is told 401 waits until the visitor has given a key, together with all others, and is then made again.
 */

import { key } from './session.js';

const CALL_MS_MAX = 35_000;
/** The broker itself gives up after 30 s. */

/** What went wrong with a call. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, outcome?: string, retryAfterMs?: number}} [what] status 0: no answer
   */
  constructor(message, what = {}) {
    super(message);
    this.status = what.status ?? 0;
    this.code = what.code ?? '';
    this.outcome = what.outcome ?? 'unavailable';
    this.retryAfterMs = what.retryAfterMs ?? 0;
  }
}

/** @type {(wrongKey: boolean) => Promise<void>} */
let askForKey = async () => {
  throw new ApiError('the broker asks for a key', { status: 401 });
};
/** @type {Promise<void>|null} */
let asking = null;

/** Who asks the visitor for a key. It returns once there is one. @param {(wrongKey: boolean) => Promise<void>} ask */
export function setAskForKey(ask) {
  askForKey = ask;
}

/** @typedef {Object<string, string|number|boolean|null|undefined>} Query what is null, undefined or empty is left out */

/**
 * Make a call and return its JSON. Throws ApiError, and whatever `signal` was aborted with.
 * @param {'GET'|'POST'|'DELETE'} method
 * @param {string} path
 * @param {{query?: Query, body?: unknown, signal?: AbortSignal|undefined, accept?: number[]}} [how] accept: statuses
 *   whose body is an answer and no error
 * @returns {Promise<any>}
 */
export async function call(method, path, how = {}) {
  for (;;) {
    const used = key();
    const response = await send(method, path, how);
    if (response.status !== 401) return answer(response, how.accept ?? []);
    // Another call may have asked meanwhile: then there is a newer key than the one this call used.
    if (key() === used) {
      asking ??= askForKey(used !== '').finally(() => (asking = null));
      await asking;
    }
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{query?: Query, body?: unknown, signal?: AbortSignal|undefined}} how
 */
async function send(method, path, how) {
  /** @type {Record<string, string>} */
  const headers = { Accept: 'application/json' };
  if (key() !== '') headers['Authorization'] = `Bearer ${key()}`;
  if (how.body !== undefined) headers['Content-Type'] = 'application/json';
  const limit = AbortSignal.timeout(CALL_MS_MAX);
  try {
    return await fetch(path + search(how.query ?? {}), {
      method,
      headers,
      signal: how.signal === undefined ? limit : AbortSignal.any([how.signal, limit]),
      ...(how.body === undefined ? {} : { body: JSON.stringify(how.body) }),
      cache: 'no-store',
      credentials: 'omit',
    });
  } catch (error) {
    how.signal?.throwIfAborted();
    // A call that changes something may have reached the broker before the connection broke.
    throw new ApiError('The broker does not answer.', {
      outcome: method === 'GET' ? 'unavailable' : 'unknown',
    });
  }
}

/** @param {Query} query */
function search(query) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') found.set(name, String(value));
  }
  const text = found.toString();
  return text === '' ? '' : `?${text}`;
}

/**
 * @param {Response} response
 * @param {number[]} accept
 */
async function answer(response, accept) {
  const document = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok || (accept.includes(response.status) && document !== null)) return document;
  throw new ApiError(document?.error ?? `The broker answered ${response.status}.`, {
    status: response.status,
    code: document?.code,
    outcome: document?.outcome,
    retryAfterMs: 1000 * Number(response.headers.get('Retry-After') ?? 0),
  });
}

/** Whether an error only says that the page was left. @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === 'AbortError';
}
