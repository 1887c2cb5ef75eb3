/** @file Submitting a task by hand, and a clone of one that exists. */

import * as calls from '../app/calls.js';
import { h } from '../app/dom.js';
import { bytes, meant, visible } from '../app/format.js';
import { msgpackText } from '../app/msgpack.js';
import { packJson } from '../app/msgpack_write.js';
import { ask } from './dialog.js';
import { fromBase64, toBase64, utf8 } from './payload.js';
import { toast } from './toast.js';

/** @typedef {import('../app/types.js').Task} Task */
/** @typedef {import('./dialog.js').Values} Values */
/** @typedef {import('./dialog.js').Field} Field */
/** @typedef {{types: string[], queues: string[]}} Suggestions */
/** @typedef {'text'|'msgpack'} Form how the text of the payload becomes bytes */
/** @typedef {{form: Form, text: string}|null} Editable null: it cannot be edited, and is taken over as it is */

const UUID_BYTES = 16;
const EMPTY_CALL = '[[], {}]';

/**
 * Ask for a task and submit it. Returns its id, or null when the dialog was dismissed.
 * @param {{suggestions: Suggestions, like?: Task}} from like: what to clone, with its payload
 * @returns {Promise<string|null>}
 */
export async function submitTask({ suggestions, like }) {
  // One id for all tries: should an answer get lost, sending the same again makes no second task.
  const taskId = newId();
  const editable = editableOf(like);
  let found = '';
  const values = await ask({
    title: like === undefined ? 'Submit a task' : 'Clone this task',
    confirm: 'Submit',
    test: 'submit-form',
    body:
      editable === null
        ? h(
            'p',
            { class: 'faint' },
            `The payload, ${bytes(like?.payload_bytes ?? 0)} that are no text, is taken over as it is.`,
          )
        : [],
    fields: fields(suggestions, like, editable),
    act: async (given) => {
      const payload = editable === null ? (like?.payload ?? '') : packed(given);
      found = (await calls.submit(bodyOf(given, taskId, payload, like))).task_id;
    },
  });
  if (values === null) return null;
  toast('Submitted', { href: `/tasks/${found}`, link: 'Show it' });
  return found;
}

/** What of a task's payload can be edited without changing the rest of it. @param {Task|undefined} like @returns {Editable} */
function editableOf(like) {
  if (like === undefined) return { form: 'text', text: '' };
  const data = fromBase64(like.payload ?? '');
  const text = utf8(data);
  if (text !== null) return { form: 'text', text };
  const packed = msgpackText(data);
  // Bytes and dates have no JSON: only what comes back as the very same bytes is offered.
  return packed !== null && repacked(packed) === like.payload ? { form: 'msgpack', text: packed } : null;
}

/** @param {string} text */
function repacked(text) {
  try {
    return toBase64(packJson(text));
  } catch {
    return null;
  }
}

/** @param {Suggestions} suggestions @param {Task|undefined} like @param {Editable} editable @returns {Field[]} */
function fields(suggestions, like, editable) {
  const types = suggestions.types.map(visible);
  const queues = suggestions.queues.map(visible);
  /** @type {(name: string, label: string, value: unknown, more?: Partial<Field>) => Field} */
  const half = (name, label, value, more = {}) => ({
    name,
    label,
    value: String(value),
    half: true,
    ...more,
  });
  const number = /** @type {const} */ ({ type: 'number', min: 0 });
  return [
    half('task_type', 'Type', visible(like?.task_type ?? ''), { required: true, suggestions: types }),
    half('queue', 'Queue', visible(like?.queue ?? 'default'), { required: true, suggestions: queues }),
    ...payloadFields(editable),
    half('priority', 'Priority', like?.priority ?? 150, { hint: '0–255, or high, normal, low' }),
    half('delay_seconds', 'Delay in seconds', 0, number),
    half('timeout_seconds', 'Time limit in seconds', like?.timeout_seconds ?? 300, number),
    half('max_retries', 'Retries', like?.max_retries ?? 3, number),
    {
      name: 'dependencies',
      label: 'Depends on',
      value: (like?.dependencies ?? []).join(' '),
      hint: 'Ids of tasks that must complete first, with spaces between',
    },
  ];
}

/** @param {Editable} editable @returns {Field[]} */
function payloadFields(editable) {
  if (editable === null) return [];
  /** @type {[Form, string][]} */
  const options = [
    ['text', 'as it stands: any text; JSON is not checked'],
    ['msgpack', `for a Python task: ${EMPTY_CALL}, arguments and keywords`],
  ];
  return [
    { name: 'form', label: 'Payload', type: 'select', value: editable.form, options },
    { name: 'payload', label: 'Its text', type: 'textarea', value: editable.text },
  ];
}

/** The payload in base64. Throws an Error for the visitor. @param {Values} given */
function packed(given) {
  const text = given['payload'] ?? '';
  if (given['form'] !== 'msgpack') return toBase64(new TextEncoder().encode(text));
  try {
    return toBase64(packJson(text.trim() || EMPTY_CALL));
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Error(`The payload is no JSON; a call is a list such as ${EMPTY_CALL}.`);
  }
}

/** @param {Values} given @param {string} taskId @param {string} payload @param {Task|undefined} like */
function bodyOf(given, taskId, payload, like) {
  const priority = (given['priority'] ?? '').trim();
  const delay = Number(given['delay_seconds'] ?? 0);
  return {
    task_id: taskId,
    task_type: meant(given['task_type'] ?? ''),
    queue: meant(given['queue'] ?? ''),
    payload,
    priority: /^\d+$/.test(priority) ? Number(priority) : priority || null,
    ...(delay > 0 ? { delay_seconds: delay } : {}),
    timeout_seconds: Number(given['timeout_seconds']),
    max_retries: Number(given['max_retries']),
    dependencies: (given['dependencies'] ?? '').split(/[\s,]+/).filter(Boolean),
    ...(like === undefined ? {} : { retry: like.retry, metadata: like.metadata }),
  };
}

/** A random UUID. `crypto.randomUUID` is there on secure origins only, and brokers are often looked at over HTTP. */
function newId() {
  const random = crypto.getRandomValues(new Uint8Array(UUID_BYTES));
  const [version, variant] = [random[6] ?? 0, random[8] ?? 0];
  random[6] = (version & 0x0f) | 0x40;
  random[8] = (variant & 0x3f) | 0x80;
  const hex = Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
