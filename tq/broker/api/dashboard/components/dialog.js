/** @file Questions to the visitor: a confirmation, a few fields, a name to type. One at a time, as a modal dialog. */

import { h } from '../app/dom.js';
import { legible, visible } from '../app/format.js';
import { explain } from './notice.js';

/** @typedef {import('../app/dom.js').Children} Children */
/** @typedef {Record<string, string>} Values what the fields held, by name */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {'text'|'number'|'password'|'textarea'|'select'} [type]
 * @property {string} [value]
 * @property {string} [hint]
 * @property {[string, string][]} [options] of a select: value, words
 * @property {string[]} [suggestions]
 * @property {boolean} [required]
 * @property {number} [min]
 * @property {number} [max]
 * @property {boolean} [half] two of them share a line
 */

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {Children} [body]
 * @property {Field[]} [fields]
 * @property {string} confirm what the button says: the thing that will happen
 * @property {boolean} [isDanger]
 * @property {string} [typed] what has to be typed before the button works
 * @property {string} [test]
 * @property {boolean} [isRequired] it cannot be dismissed
 * @property {AbortSignal} [until] aborted when there is nothing to ask any more
 * @property {(values: Values) => Promise<void>} [act] the thing itself; when it throws, the dialog says so and stays
 */

/**
 * Ask, and return what was filled in, or null when it was dismissed, or when the visitor goes back to another page.
 * @param {Question} question
 * @returns {Promise<Values|null>}
 */
export function ask(question) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const over = new AbortController();
    /** @param {Values|null} values */
    const finish = (values) => {
      if (over.signal.aborted) return;
      over.abort();
      dialog.close();
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(values);
    };
    const dialog = build(question, finish);
    const leave = () => finish(null);
    if (!question.isRequired) window.addEventListener('popstate', leave, { signal: over.signal });
    question.until?.addEventListener('abort', leave, { signal: over.signal });
    document.body.append(dialog);
    dialog.showModal();
    first(dialog)?.focus();
  });
}

/** @param {HTMLElement} dialog @returns {HTMLElement|null} */
function first(dialog) {
  return (
    dialog.querySelector('input, textarea, select') ??
    dialog.querySelector('[data-test=dismiss]') ??
    dialog.querySelector('button')
  );
}

/** @param {Question} question @param {(values: Values|null) => void} finish */
function build(question, finish) {
  const problem = h('p', { class: 'problem', role: 'alert', 'data-test': 'problem' });
  const confirm = h(
    'button',
    { type: 'submit', class: question.isDanger ? 'danger' : 'primary', 'data-test': 'confirm' },
    question.confirm,
  );
  const form = h(
    'form',
    { novalidate: true },
    h('h2', { id: 'dialog-title' }, question.title),
    h('div', { class: 'dialog-body' }, question.body ?? [], fieldset(question)),
    problem,
    h(
      'footer',
      null,
      question.isRequired
        ? null
        : h('button', { type: 'button', 'data-test': 'dismiss', onclick: () => finish(null) }, 'Back'),
      confirm,
    ),
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    if (form.reportValidity() && !confirm.disabled) void run(question, form, confirm, problem, finish);
  };
  if (question.typed !== undefined) guard(form, confirm, question.typed);
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', 'data-test': question.test ?? null }, form);
  dialog.oncancel = (event) => {
    event.preventDefault();
    if (!question.isRequired) finish(null);
  };
  return dialog;
}

/**
 * @param {Question} question
 * @param {HTMLFormElement} form
 * @param {HTMLButtonElement} confirm
 * @param {HTMLElement} problem
 * @param {(values: Values) => void} finish
 */
async function run(question, form, confirm, problem, finish) {
  /** @type {Values} */
  const values = {};
  for (const [name, value] of new FormData(form)) values[name] = String(value);
  confirm.disabled = true;
  problem.textContent = '';
  try {
    await question.act?.(values);
    finish(values);
  } catch (error) {
    problem.textContent = legible(explain(error));
    problem.scrollIntoView({ block: 'nearest' });
    confirm.disabled = false;
  }
}

/** The button works once the name was typed, as it is shown. @param {HTMLFormElement} form @param {HTMLButtonElement} confirm @param {string} name */
function guard(form, confirm, name) {
  const typed = /** @type {HTMLInputElement} */ (form.elements.namedItem('typed'));
  confirm.disabled = true;
  const wanted = visible(name);
  typed.oninput = () => (confirm.disabled = typed.value !== wanted);
}

/** @param {Question} question */
function fieldset(question) {
  const fields = [...(question.fields ?? [])];
  if (question.typed !== undefined) {
    fields.push({ name: 'typed', label: `Type ${visible(question.typed)} to confirm`, required: true });
  }
  return fields.length === 0 ? null : h('div', { class: 'fields' }, fields.map(fieldRow));
}

/** @param {Field} field */
function fieldRow(field) {
  const id = `field-${field.name}`;
  const list =
    field.suggestions === undefined
      ? null
      : h(
          'datalist',
          { id: `${id}-list` },
          field.suggestions.map((value) => h('option', { value })),
        );
  return h(
    'div',
    { class: field.half ? 'field half' : 'field' },
    h('label', { for: id }, field.label),
    control(field, id),
    list,
    field.hint === undefined ? null : h('small', { id: `${id}-hint` }, field.hint),
  );
}

/** @param {Field} field @param {string} id */
function control(field, id) {
  const common = {
    id,
    name: field.name,
    required: field.required ?? false,
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-describedby': field.hint === undefined ? null : `${id}-hint`,
  };
  if (field.type === 'textarea') return h('textarea', { ...common, rows: 6 }, field.value ?? '');
  if (field.type === 'select') {
    return h(
      'select',
      common,
      (field.options ?? []).map(([value, text]) =>
        h('option', { value, selected: value === field.value }, text),
      ),
    );
  }
  return h('input', {
    ...common,
    type: field.type ?? 'text',
    value: field.value ?? '',
    min: field.min,
    max: field.max,
    step: field.type === 'number' ? 'any' : null,
    list: field.suggestions === undefined ? null : `${id}-list`,
  });
}
