/**
 * @file The search field: a task by its id, or tasks of a type. A part of an id leads to the task where one of the tasks on
 * the page has it; the broker finds tasks by whole ids only.
 */

import { toastError } from '../components/toast.js';
import { byId } from './dom.js';
import { meant } from './format.js';

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
/** The short form that lists show, or how an id begins. A type may look like hex, so without a dash it takes an id's `01`. */
const PART = /^([0-9a-f-]*)(?:…|\.\.\.)([0-9a-f]+)$|^([0-9a-f]{8}-[0-9a-f-]*|01[0-9a-f]{6,})$/i;

/** @param {(address: string) => void} go */
export function setUpSearch(go) {
  const form = /** @type {HTMLFormElement} */ (byId('search'));
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem('q'));
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text === '') return;
    const address = addressOf(text);
    if (address === null) {
      toastError(
        new Error(
          'That is a part of a task’s id: a task is found by all 36 characters of it, as its page shows them.',
        ),
      );
      return;
    }
    field.value = '';
    field.blur();
    go(address);
  };
}

/** Where a text leads; null for a part of an id that no task on the page has, or several have. @param {string} text */
function addressOf(text) {
  if (UUID.test(text)) return `/tasks/${text.toLowerCase()}`;
  const part = PART.exec(text.toLowerCase());
  if (part === null) return `/tasks?task_type=${encodeURIComponent(meant(text))}`;
  const [begin, end] = [part[1] ?? part[3] ?? '', part[2] ?? ''];
  const ids = [...document.querySelectorAll('main a.id')].map((link) => link.getAttribute('title') ?? '');
  const found = [...new Set(ids)].filter((id) => id.startsWith(begin) && id.endsWith(end));
  return found.length === 1 ? `/tasks/${found[0]}` : null;
}
