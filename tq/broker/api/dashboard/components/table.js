/** @file Tables: real `<table>` elements with sortable headers, rows that can be selected, and room to scroll. */

import { h } from '../app/dom.js';
import { icon } from './icon.js';

/** @typedef {import('../app/dom.js').Children} Children */

/**
 * @template R
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: R) => Children} cell
 * @property {string} [sort] the name of its order, where it can be sorted by
 * @property {boolean} [number] right-aligned
 * @property {'wide'|'wider'|'widest'} [room] shown where there is room: from a tablet on, from a laptop on, from a desktop on
 * @property {boolean} [grows] takes what room is left, and is cut
 * @property {boolean} [isHead] names the row
 * @property {boolean} [isHidden] left out
 * @property {boolean} [sticks] stays in sight while the others scroll
 */

/**
 * @typedef {object} Order by: a column's `sort`
 * @property {string} by
 * @property {boolean} isDown
 */

/**
 * @typedef {object} Selection
 * @property {Set<string>} ids
 * @property {() => void} changed
 */

/**
 * @template R
 * @typedef {object} Table
 * @property {string} name for tests, and the key of the table
 * @property {string} caption read out, not shown
 * @property {Column<R>[]} columns
 * @property {R[]} rows
 * @property {(row: R) => string} id
 * @property {Order} [order]
 * @property {(by: string) => void} [onOrder]
 * @property {Selection} [selection]
 * @property {(row: R) => string} [label] how a row is called where it is selected
 * @property {Children} [empty] shown instead of a table without rows
 * @property {(row: R) => string|null} [tone] class of a row
 */

/**
 * @template R
 * @param {Table<R>} table
 * @returns {HTMLElement}
 */
export function dataTable(table) {
  const columns = table.columns.filter((column) => !column.isHidden);
  if (table.rows.length === 0 && table.empty !== undefined) {
    return h('div', { class: 'empty', key: `${table.name}-empty` }, table.empty);
  }
  return h(
    'div',
    // It scrolls sideways on a phone, so the keyboard must reach it.
    { class: 'table', key: table.name, role: 'region', 'aria-label': table.caption, tabindex: '0' },
    h(
      'table',
      { 'data-test': table.name },
      h('caption', { class: 'unseen' }, table.caption),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          selectAll(table),
          columns.map((column) => header(table, column)),
        ),
      ),
      h(
        'tbody',
        null,
        table.rows.map((row) => line(table, columns, row)),
      ),
    ),
  );
}

/** @template R @param {Column<R>} column */
function classes(column) {
  return (
    [
      column.number ? 'number' : '',
      column.room ?? '',
      column.grows ? 'grows' : '',
      column.sticks ? 'sticks' : '',
    ]
      .filter(Boolean)
      .join(' ') || null
  );
}

/** @template R @param {Table<R>} table @param {Column<R>} column */
function header(table, column) {
  const { order, onOrder } = table;
  if (column.sort === undefined || onOrder === undefined) {
    return h('th', { scope: 'col', class: classes(column) }, column.title);
  }
  const by = column.sort;
  const isSorted = order?.by === by;
  return h(
    'th',
    {
      scope: 'col',
      class: classes(column),
      'aria-sort': isSorted ? (order.isDown ? 'descending' : 'ascending') : 'none',
    },
    h(
      'button',
      { type: 'button', class: 'sort', onclick: () => onOrder(by) },
      column.title,
      isSorted ? icon(order.isDown ? 'down' : 'up') : null,
    ),
  );
}

/** @template R @param {Table<R>} table @param {Column<R>[]} columns @param {R} row */
function line(table, columns, row) {
  const id = table.id(row);
  return h(
    'tr',
    {
      key: id,
      'data-id': id,
      class: table.tone?.(row) ?? null,
      'aria-selected': table.selection?.ids.has(id) ? 'true' : null,
    },
    selectOne(table, row, id),
    columns.map((column) =>
      h(
        column.isHead ? 'th' : 'td',
        { class: classes(column), scope: column.isHead ? 'row' : null },
        column.cell(row),
      ),
    ),
  );
}

/** @template R @param {Table<R>} table */
function selectAll(table) {
  const { selection, rows } = table;
  if (selection === undefined) return null;
  const ids = rows.map(table.id);
  const chosen = ids.filter((id) => selection.ids.has(id)).length;
  return h(
    'th',
    { scope: 'col', class: 'select' },
    h('input', {
      type: 'checkbox',
      'aria-label': 'Select every row of this page',
      'data-test': 'select-page',
      checked: chosen > 0 && chosen === ids.length,
      indeterminate: chosen > 0 && chosen < ids.length,
      onchange: () => {
        for (const id of ids) chosen === ids.length ? selection.ids.delete(id) : selection.ids.add(id);
        selection.changed();
      },
    }),
  );
}

/** @template R @param {Table<R>} table @param {R} row @param {string} id */
function selectOne(table, row, id) {
  const { selection } = table;
  if (selection === undefined) return null;
  return h(
    'td',
    { class: 'select' },
    h('input', {
      type: 'checkbox',
      'aria-label': `Select ${table.label?.(row) ?? id}`,
      checked: selection.ids.has(id),
      onchange: () => {
        selection.ids.has(id) ? selection.ids.delete(id) : selection.ids.add(id);
        selection.changed();
      },
    }),
  );
}

/**
 * The order an address asks for: `-name` is downwards.
 * @param {string|null} text @param {string} usual
 * @returns {Order}
 */
export function orderOf(text, usual) {
  const wanted = text || usual;
  return { by: wanted.replace(/^-/, ''), isDown: wanted.startsWith('-') };
}

/** What an address may ask for, of these orders. @param {Record<string, unknown>} orders */
export function ordersOf(orders) {
  return Object.keys(orders).flatMap((by) => [`-${by}`, by]);
}

/**
 * The order after a click on a header: downwards first, then the other way.
 * @param {Order} order @param {string} by
 */
export function nextOrder(order, by) {
  return order.by === by && order.isDown ? by : `-${by}`;
}

/**
 * A sorted copy. values: how rows compare under each order.
 * @template R
 * @param {R[]} rows
 * @param {Order} order
 * @param {Record<string, (row: R) => string|number>} values
 * @returns {R[]}
 */
export function sorted(rows, order, values) {
  const value = Object.hasOwn(values, order.by) ? values[order.by] : undefined;
  if (value === undefined) return rows;
  const sign = order.isDown ? -1 : 1;
  return [...rows].sort((left, right) => {
    const a = value(left);
    const b = value(right);
    return sign * (typeof a === 'string' ? a.localeCompare(String(b)) : a - Number(b));
  });
}
