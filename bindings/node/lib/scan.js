'use strict'

const { isUint8Array } = require('node:util').types
const { markAsUntransferable } = require('node:worker_threads')
const core = require('./core')
const { Held } = require('./held')
const { check, checkOne, scan: known, part } = require('./options')
const { checkBytes, checkText, KEY_BYTES_MAX, LIST_GOES_ON } = require('./encodings')
const { make, wrongType } = require('./errors')
const { native, input } = core

const CHUNK_BYTES = 64 * 1024
const CHUNK_BYTES_FIRST = 8 * 1024
const ENTRIES_MAX = 1024

/** Options for the native part; keys as hexadecimal text. */
function scanOptions (table, options, allowed = known, what = 'a scan') {
  const given = check(options, allowed, what)
  const ends = given.reverse ? [['lt', 'lte', 'start'], ['gt', 'gte', 'end']] : [['gt', 'gte', 'start'], ['lt', 'lte', 'end']]
  for (const names of ends) checkOne(given, names, what)
  if (given.start !== undefined) given[given.reverse ? 'lte' : 'gte'] = given.start
  if (given.end !== undefined) given[given.reverse ? 'gt' : 'lt'] = given.end
  const result = {}
  for (const name of ['reverse', 'limit', 'paged']) if (given[name] !== undefined) result[name] = given[name]
  const { _keys: keys } = table
  for (const name of ['gt', 'gte', 'lt', 'lte']) {
    if (given[name] !== undefined) result[name] = input.hexSlice(0, keys.write(input, 0, given[name]))
  }
  if (given.prefix !== undefined) {
    const isEmpty = (typeof given.prefix === 'string' || isUint8Array(given.prefix)) && given.prefix.length === 0
    const length = isEmpty && keys.name !== 'ordered'
      ? 0
      : (keys.prefix || keys.write)(input, 0, given.prefix)
    const prefix = input.hexSlice(0, length)
    const isList = keys.name === 'ordered' && Array.isArray(given.prefix)
    if (isList || ENDS.some(name => result[name] !== undefined)) within(result, prefix, isList)
    else result.prefix = prefix
  }
  for (const name of ['contains', 'glob', 'after']) {
    const bytes = given[name]
    if (bytes === undefined) continue
    // A token holds a key.
    if (bytes !== null && bytes !== undefined && bytes.length > KEY_BYTES_MAX + 64) {
      throw make('INVALID_ARGUMENT', `${name} has ${bytes.length} bytes, more than a key may have`)
    }
    if (typeof bytes === 'string') checkText(bytes, name)
    else checkBytes(bytes, name)
    result[name] = Buffer.from(bytes).toString('hex')
  }
  return result
}

const ENDS = ['gt', 'gte', 'lt', 'lte']

/**
 * Narrows a range to the keys that begin with a prefix. Hexadecimal text sorts as its bytes do. What begins with the parts
 * of a list ends before a byte 255, with which the last part would go on (see LIST_GOES_ON).
 */
function within (range, prefix, isList) {
  const { gt, gte, lt, lte } = range
  const low = gt === undefined ? gte : gt
  if (low === undefined || low < prefix) {
    delete range.gt
    range.gte = prefix
  }
  const end = isList ? prefix + LIST_GOES_ON.toString(16) : behind(prefix)
  if (end === undefined) return
  const high = lt === undefined ? lte : lt
  if (high === undefined || high >= end) {
    delete range.lte
    range.lt = end
  }
}

/** The first key behind all that begin so. */
function behind (prefix) {
  const raised = prefix.replace(/(ff)*$/, '')
  if (raised === '') return undefined
  return raised.slice(0, -2) + (parseInt(raised.slice(-2), 16) + 1).toString(16).padStart(2, '0')
}

/** Keys and values in a range: lazy, sync and async iterable, each iteration from the beginning. */
class Range {
  constructor (table, options, kind, view) {
    this._table = table
    this._kind = kind
    this._options = kind === 'entries' ? scanOptions(table, options) : scanOptions(table, options, part, `a scan of ${kind}`)
    if (this._kind === 'keys') this._options.keysOnly = true
    this._versions = Boolean(options && options.versions)
    this._view = view
    this._steps = []
  }

  _with (step) {
    const range = Object.create(Range.prototype)
    return Object.assign(range, this, { _steps: [...this._steps, step] })
  }

  /** Lazily. */
  map (f) { return this._with({ map: checkFunction(f) }) }
  filter (f) { return this._with({ filter: checkFunction(f) }) }

  [Symbol.iterator] () { return new Items(new Cursor(this), this._steps) }

  async * [Symbol.asyncIterator] () {
    const cursor = new Cursor(this)
    try {
      while (cursor.fill()) {
        while (cursor.left > 0) {
          const item = apply(this._steps, cursor.take())
          if (item !== NOTHING) yield item
        }
        // Others have their turn between two buffers.
        await new Promise(resolve => setImmediate(resolve))
      }
    } finally {
      cursor.close()
    }
  }

  toArray () { return Array.from(this) }
  get asArray () { return this.toArray() }
  forEach (f) { for (const item of this) f(item) }

  /** How many there are. */
  count () {
    let count = 0
    if (this._steps.length > 0) {
      for (const _ of this) count++ // eslint-disable-line no-unused-vars
      return count
    }
    const cursor = new Cursor({ ...this, _kind: 'keys', _options: { ...this._options, keysOnly: true } })
    try {
      while (cursor.fill()) count += cursor.left
      return count
    } finally {
      cursor.close()
    }
  }

  /** A page of items, and the token behind which the next one begins (option `after`), undefined at the end. */
  page () {
    const cursor = new Cursor({ ...this, _options: { ...this._options, paged: true } })
    // The token is asked for at the end.
    cursor.staysOpen = true
    try {
      const items = []
      while (cursor.fill()) {
        while (cursor.left > 0) {
          const item = apply(this._steps, cursor.take())
          if (item !== NOTHING) items.push(item)
        }
      }
      const token = core.run('pageToken', cursor.held.handle)
      return { items, token: token === null ? undefined : token }
    } finally {
      cursor.close()
    }
  }
}

/** The iterator of a range; by hand, since a generator costs more than an item. */
class Items {
  constructor (cursor, steps) {
    this._cursor = cursor
    this._steps = steps
  }

  next () {
    const { _cursor: cursor, _steps: steps } = this
    try {
      for (;;) {
        if (cursor.left === 0 && (cursor.isAtEnd || !cursor.fill())) return { done: true, value: undefined }
        if (steps.length === 0) return { done: false, value: cursor.take() }
        const item = apply(steps, cursor.take())
        if (item !== NOTHING) return { done: false, value: item }
      }
    } catch (error) {
      this.return()
      throw error
    }
  }

  return (value) {
    this._cursor.isAtEnd = true
    this._cursor.left = 0
    this._cursor.close()
    return { done: true, value }
  }

  [Symbol.iterator] () { return this }
}

const NOTHING = Symbol('nothing')

function apply (steps, item) {
  for (const step of steps) {
    if (step.map) item = step.map(item)
    else if (!step.filter(item)) return NOTHING
  }
  return item
}

function checkFunction (f) {
  if (typeof f !== 'function') throw wrongType('the argument', 'a function', f)
  return f
}

/** What is open while somebody iterates. */
class Cursor {
  constructor (range) {
    const { _table: table, _view: view } = range
    const [told] = core.run('scan', view === undefined ? table._handle : view._view(table), { ...range._options, other: table._handle })
    this.held = new Held(table.database, JSON.parse(told).handle, this)
    this.table = table
    this.kind = range._kind
    this.versions = range._versions
    this.left = 0
    this.staysOpen = false
    this.isAtEnd = false
    this.size = CHUNK_BYTES_FIRST
    this.buffer = undefined
  }

  /** Fetches more; false at the end. */
  fill () {
    const { held } = this
    if (held.handle === 0) throw make('CLOSED', 'the database was closed while it was scanned')
    const isKept = this.kind !== 'keys' && this.table._values.isView
    // Values are views of the buffer: it cannot be used again then.
    if (isKept || this.buffer === undefined || this.buffer.length < this.size) this._allocate(this.size, isKept)
    let count = native.scanNext(held.handle, this.buffer, ENTRIES_MAX)
    if (count < 0) {
      this._allocate(-count, isKept)
      count = native.scanNext(held.handle, this.buffer, ENTRIES_MAX)
    }
    this.size = Math.min(this.size * 2, CHUNK_BYTES)
    this.left = count
    this.at = 0
    if (count === 0) {
      this.isAtEnd = true
      if (!this.staysOpen) this.close()
    }
    return count > 0
  }

  _allocate (size, isKept) {
    size = Math.ceil(size / 8) * 8
    this.buffer = Buffer.allocUnsafeSlow(size)
    // Sending one value to another thread must not take the others away.
    if (isKept) markAsUntransferable(this.buffer.buffer)
    this.words = new Int32Array(this.buffer.buffer)
    this.doubles = new Float64Array(this.buffer.buffer)
  }

  take () {
    const { at, buffer, words, doubles, table } = this
    const key = at + 24
    const value = key + words[at >> 2]
    const end = value + words[(at >> 2) + 1]
    this.at = (end + 7) & ~7
    this.left--
    if (this.kind === 'keys') return table._keys.read(buffer, key, value)
    if (this.kind === 'values') return table._values.read(buffer, value, end)
    const item = { key: table._keys.read(buffer, key, value), value: table._values.read(buffer, value, end) }
    if (this.versions) {
      item.version = doubles[(at >> 3) + 1]
      item.sequence = doubles[(at >> 3) + 2]
    }
    return item
  }

  close () { this.held.close() }
}

module.exports = { Range, scanOptions }
