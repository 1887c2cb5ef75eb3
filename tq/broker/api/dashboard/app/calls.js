/** @file The calls of the broker's REST interface that the pages make, one function each. See `docs/rest.md`. */

import { call } from './api.js';

/** @typedef {import('./types.js').TaskFilter} TaskFilter */
/** @typedef {AbortSignal|undefined} Signal */

const API = '/api/v1';

/** @param {string} text */
const part = (text) => encodeURIComponent(text);

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Me>} */
export const me = (signal) => call('GET', `${API}/me`, { signal });

/** A degraded broker answers 503, and says what is wrong. @param {Signal} [signal] @returns {Promise<import('./types.js').Health>} */
export const health = (signal) => call('GET', `${API}/health`, { signal, accept: [503] });

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Stats>} */
export const stats = (signal) => call('GET', `${API}/stats`, { signal });

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Series>} */
export const series = (signal) => call('GET', `${API}/series`, { signal });

/** The latest failed attempts, newest first. @param {number} limit @param {Signal} [signal] @returns {Promise<import('./types.js').Failure[]>} */
export const failures = async (limit, signal) =>
  (await call('GET', `${API}/failures`, { query: { limit }, signal })).failures;

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Cluster>} */
export const cluster = (signal) => call('GET', `${API}/cluster`, { signal });

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Worker[]>} */
export const workers = async (signal) => (await call('GET', `${API}/workers`, { signal })).workers;

/** @param {Signal} [signal] @returns {Promise<import('./types.js').Queue[]>} */
export const queues = async (signal) => (await call('GET', `${API}/queues`, { signal })).queues;

/**
 * A page of tasks without their results.
 * @param {TaskFilter & {worker_id?: string, order?: string, limit?: number, cursor?: string}} query
 * @param {Signal} [signal]
 * @returns {Promise<import('./types.js').TaskList>}
 */
export const tasks = (query, signal) =>
  call('GET', `${API}/tasks`, { query: { ...query, with_result: false }, signal });

/** How many tasks match. @param {TaskFilter} filter @param {Signal} [signal] @returns {Promise<number>} */
export const matching = async (filter, signal) => (await tasks({ ...filter, limit: 1 }, signal)).total;

/**
 * One task. parts: with its payload, with its result; both may be megabytes.
 * @param {string} id
 * @param {{with_payload?: boolean, with_result?: boolean}} parts
 * @param {Signal} [signal]
 * @returns {Promise<import('./types.js').Task>}
 */
export const task = (id, parts, signal) =>
  call('GET', `${API}/tasks/${part(id)}`, {
    query: { with_payload: false, with_result: false, ...parts },
    signal,
  });

/** @param {object} body @returns {Promise<{task_id: string, status: string}>} */
export const submit = (body) => call('POST', `${API}/tasks`, { body });

/** force: a running one, too. @param {string} id @param {boolean} force */
export const cancel = (id, force) =>
  call('DELETE', `${API}/tasks/${part(id)}`, { query: { force: force || null } });

/** maxRetries: null keeps the task's own. @param {string} id @param {number|null} maxRetries */
export const retry = (id, maxRetries) =>
  call('POST', `${API}/tasks/${part(id)}/retry`, {
    body: maxRetries === null ? {} : { max_retries: maxRetries },
  });

/**
 * One step of a bulk action: at most `limit` tasks.
 * @param {import('./types.js').BulkAction} action
 * @param {object} body
 * @param {Signal} [signal]
 * @returns {Promise<import('./types.js').BulkStep>}
 */
export const bulk = (action, body, signal) => call('POST', `${API}/tasks/bulk/${action}`, { body, signal });

/** Forget tasks of one status. @param {object} body @param {Signal} [signal] @returns {Promise<{purged: number, more: boolean}>} */
export const purge = (body, signal) => call('POST', `${API}/tasks/purge`, { body, signal });

/** @param {{queue?: string, task_type?: string}} query @param {Signal} [signal] @returns {Promise<import('./types.js').DeadGroups>} */
export const deadGroups = (query, signal) => call('GET', `${API}/dead-letters`, { query, signal });

/** @param {string} queue @param {string} reason */
export const pause = (queue, reason) =>
  call('POST', `${API}/queues/${part(queue)}/pause`, { body: { reason } });

/** @param {string} queue */
export const resume = (queue) => call('POST', `${API}/queues/${part(queue)}/resume`, { body: {} });

/** @param {string} sessionId */
export const drain = (sessionId) => call('POST', `${API}/workers/${part(sessionId)}/drain`, { body: {} });

/** @param {string} nodeId @returns {Promise<{leader: string}>} */
export const transfer = (nodeId) => call('POST', `${API}/cluster/transfer`, { body: { node_id: nodeId } });
