'use strict'

const { isUint8Array } = require('node:util').types
const { markAsUntransferable } = require('node:worker_threads')
const core = require('./core')
const { Pack, KEY, PUT, DELETE } = require('./pack')
const { writeFlags, expectFlags, write, remove, batched, condition } = require('./options')
const { Range } = require('./scan')
const { readStream, writeStream } = require('./streams')
const { valueEncoding, checkBytes } = require('./encodings')
const { make, wrongType } = require('./errors')
const { native, input, numbers, POOLED_BYTES_MAX, INPUT_VALUE_BYTES_MAX } = core

let keyPack = new Pack()
const NO_FLAGS = { bits: 0, expected: 0, expiry: 0 }
const json = valueEncoding('json')
const bytes = valueEncoding('binary')

function checkIterable (list, what, expected) {
  if (list === null || typeof list !== 'object' || typeof list[Symbol.iterator] !== 'function') throw wrongType(what, expected, list)
}

function checkEntry (entry) {
  if (entry === null || typeof entry !== 'object') throw wrongType('an entry', '[key, value]', entry)
}

/** Options among which there is none that the call itself gives. */
function without (options, name, what) {
  if (options === undefined) return undefined
  if (options === null || typeof options !== 'object') throw wrongType(`the options of ${what}`, 'an object', options)
  if (options[name] !== undefined) throw make('INVALID_ARGUMENT', `${what} has no option ${name}, which is given already`)
  return options
}

/** A table. Everything here that returns no promise has happened when it returns. */
class Table {
  constructor (database, name, handle, keys, values, durability = 'buffered', refusesKeys = false) {
    this.database = database
    /** Of writes that do not name one; a commit of several tables is synced if one of them asks for it. */
    this.durability = durability
    this.name = name
    this._handle = handle
    this._keys = keys
    this._values = values
    /** Whether there are keys that the table does not take, although their encoding does. */
    this._refusesKeys = refusesKeys
    this.promises = new TablePromises(this)
  }

  get keyEncoding () { return this._keys.name }
  get valueEncoding () { return this._values.name }

  /** The value, or undefined. */
  get (key) {
    return this._get(key, 0)
  }

  _get (key, view) {
    const length = this._keys.write(input, 0, key)
    if (core.pool.length - core.poolAt < POOLED_BYTES_MAX) core.newPool()
    const { pool, poolAt: at } = core
    const found = native.get(this._handle, length, at, view)
    if (typeof found === 'number') {
      if (found < 0) return undefined
      if (this._values.isView) core.poolAt = (at + found + 7) & ~7
      return this._values.read(pool, at, at + found)
    }
    return this._values.read(found, 0, found.length)
  }

  /** The value with version, sequence, time and expiry, or undefined. */
  getEntry (key) {
    return this._getEntry(key, 0)
  }

  _getEntry (key, view) {
    const length = this._keys.write(input, 0, key)
    if (core.pool.length - core.poolAt < POOLED_BYTES_MAX) core.newPool()
    const { pool, poolAt: at } = core
    const found = native.getEntry(this._handle, length, at, view)
    if (found === -1) return undefined
    const version = numbers[0]
    const sequence = numbers[1]
    const timeMs = numbers[2]
    const expiresAt = numbers[3] < 0 ? undefined : numbers[3]
    const isPooled = typeof found === 'number'
    if (isPooled && this._values.isView) core.poolAt = (at + found + 7) & ~7
    const value = isPooled ? this._values.read(pool, at, at + found) : this._values.read(found, 0, found.length)
    return { value, version, sequence, timeMs, expiresAt }
  }

  /** Copies the value's bytes into a buffer, as many as there is room for. The value's length, or -1. */
  getInto (key, target) {
    checkBytes(target, 'the target')
    return native.getInto(this._handle, this._keys.write(input, 0, key), target, 0)
  }

  has (key) {
    return this._has(key, 0)
  }

  _has (key, view) {
    return native.has(this._handle, this._keys.write(input, 0, key), view)
  }

  /** The values of keys, in their order; undefined for what is not there. Crosses once. */
  getMany (keys) {
    return this._getMany(keys, 0)
  }

  _getMany (keys, view) {
    checkIterable(keys, 'keys', 'a list of keys')
    // Iterators and getters may call this meanwhile: they have a pack of their own.
    const pack = keyPack || new Pack()
    keyPack = undefined
    let count, places, total
    try {
      pack.clear()
      for (const key of keys) pack.add(KEY, 0, this._keys, key, undefined, 0, 0, 0)
      count = pack.count
      places = new Int32Array(count * 2)
      total = native.getMany(this._handle, pack.buffer, count, places, view)
    } finally {
      keyPack = pack.buffer.length > 8 << 20 ? new Pack() : pack
    }
    const found = Buffer.allocUnsafeSlow(total)
    native.takeScratch(found)
    // Sending one value to another thread must not take the others away.
    if (this._values.isView) markAsUntransferable(found.buffer)
    const result = new Array(count)
    for (let index = 0; index < count; index++) {
      const length = places[index * 2 + 1]
      const offset = places[index * 2]
      result[index] = length < 0 ? undefined : this._values.read(found, offset, offset + length)
    }
    return result
  }

  /** Writes; returns version and sequence. */
  put (key, value, options) {
    return this._put(key, value, options, 0, 0)
  }

  _put (key, value, options, more, view) {
    // The user's encoder may call the database: its result comes before anything lies in the shared buffer.
    // So do those of options that are getters.
    const encoded = this._values.encode(value)
    const isPlain = options === undefined && more === 0 && view === 0
    const { bits, expected, expiry } = isPlain ? NO_FLAGS : view === 0 ? writeFlags(options) : writeFlags(options, batched, 'a put of a transaction')
    const length = this._keys.write(input, 0, key)
    let given
    if (typeof encoded === 'string') {
      if (encoded.length * 3 <= INPUT_VALUE_BYTES_MAX) given = input.utf8Write(encoded, length)
      else given = Buffer.from(encoded)
    } else if (encoded.length <= 1024) {
      // Getters of options and keys have run since it was encoded.
      if (encoded.length === 0) checkBytes(encoded, 'a value')
      input.set(encoded, length)
      given = encoded.length
    } else given = encoded.buffer instanceof SharedArrayBuffer ? Buffer.from(encoded) : encoded
    let outcome
    if (isPlain) outcome = native.put(this._handle, length, given)
    else outcome = native.put(this._handle, length, given, bits | more, expected, expiry, view)
    if (view !== 0) return undefined
    const written = { version: numbers[0], sequence: numbers[1] }
    if (more !== 0) written.unchanged = outcome === 1
    return written
  }

  /** Writes if what is there is what is expected, else throws a ConflictError. */
  putIf (key, value, expect, options) {
    expectFlags(expect)
    return this._put(key, value, { ...without(options, 'expect', 'putIf'), expect }, 0, 0)
  }

  /** Writes unless the key has this value already. */
  putIfChanged (key, value) {
    return this._put(key, value, undefined, 128, 0)
  }

  /** Deletes; returns version and sequence, or undefined if it was not there. */
  delete (key, options) {
    return this._delete(key, options, 0)
  }

  _delete (key, options, view) {
    const { bits, expected } = view === 0 ? writeFlags(options, remove, 'a delete') : writeFlags(options, condition, 'a delete of a transaction')
    const length = this._keys.write(input, 0, key)
    const isDeleted = native.remove(this._handle, length, bits, expected, view) === 1
    return isDeleted && view === 0 ? { version: numbers[0], sequence: numbers[1] } : undefined
  }

  /** Writes all of them as one commit; returns its sequence. Entries are [key, value]. */
  putMany (entries, options) {
    checkIterable(entries, 'entries', 'a list of [key, value]')
    const batch = this.database.batch()
    try {
      for (const entry of entries) {
        checkEntry(entry)
        batch.put(this, entry[0], entry[1])
      }
      return batch.count === 0 ? undefined : batch.write(options)
    } finally {
      batch.clear()
    }
  }

  /** A batch of this table's operations: [{ type: 'put' | 'delete', key, value }], or a batch to be filled. */
  batch (operations, options) {
    const batch = this.database.batch()
    if (operations === undefined) return batch
    checkIterable(operations, 'operations', 'a list of operations')
    for (const operation of operations) batch._add(operation, this)
    return batch.count === 0 ? undefined : batch.write(options)
  }

  /** Calls a function with the value until nobody writes between; what it returns is written with the expiry of before, undefined deletes. */
  update (key, f) {
    if (typeof f !== 'function') throw wrongType('the second argument', 'a function', f)
    for (let attempt = 0; ; attempt++) {
      const entry = this.getEntry(key)
      const value = f(entry === undefined ? undefined : entry.value)
      if (value !== null && typeof value === 'object' && typeof value.then === 'function') {
        throw make('INVALID_ARGUMENT', 'the function of update must not be async')
      }
      const expect = entry === undefined ? 'absent' : { sequence: entry.sequence }
      const kept = entry && (entry.expiresAt === undefined ? { ttl: 'never' } : { expiresAt: entry.expiresAt })
      try {
        if (value === undefined) return entry === undefined ? undefined : this.delete(key, { expect })
        return this.put(key, value, { expect, ...kept })
      } catch (error) {
        // An expiry that has passed meanwhile is refused; what was read is not there any more then.
        const hasExpired = error.code === 'ATOMKV_INVALID_ARGUMENT' && entry !== undefined && entry.expiresAt <= Date.now()
        if ((error.code !== 'ATOMKV_CONFLICT' && !hasExpired) || attempt >= 63) throw error
      }
    }
  }

  /** Changes a value by an operand in one step: one of { addInteger, addDecimal, append, jsonMergePatch }. Bytes of a patch are its text. Where the new value cannot be decoded, reading `value` throws. */
  merge (key, operation) {
    const names = ['addInteger', 'addDecimal', 'append', 'jsonMergePatch']
    const given = operation !== null && typeof operation === 'object' ? Object.keys(operation) : []
    if (given.length !== 1 || !names.includes(given[0])) {
      throw make('INVALID_ARGUMENT', `a merge is an object with one of ${names.join(', ')}`)
    }
    const [operator] = given
    const keyBytes = this._keyBytes(key)
    let operand = operation[operator]
    if (operator === 'jsonMergePatch' && !isUint8Array(operand)) operand = json.encode(operand)
    else if (operator.startsWith('add')) {
      const isText = typeof operand === 'string' && operator === 'addDecimal'
      if (!isText && !Number.isSafeInteger(operand) && typeof operand !== 'bigint') throw wrongType(operator, 'a whole number or a bigint', operand)
      operand = String(operand)
    } else operand = bytes.encode(operand)
    const [told, value] = core.run('merge', this._handle, { operator }, keyBytes, Buffer.from(operand))
    const written = JSON.parse(told)
    try {
      return { ...written, value: this._values.read(value, 0, value.length) }
    } catch (error) {
      // It is committed: who took this for a failure would do it twice.
      return Object.defineProperty(written, 'value', { enumerable: true, get () { throw error } })
    }
  }

  /** Sets when a key expires, { ttl } or { expiresAt }, { ttl: 'never' }; undefined if it is not there. */
  setExpiry (key, options) {
    const keyBytes = this._keyBytes(key)
    const done = core.run('setExpiry', this._handle, { ...writeFlags(options, write, 'an expiry') }, keyBytes)
    return done === null ? undefined : JSON.parse(done[0])
  }

  _keyBytes (key) {
    return Buffer.from(input.subarray(0, this._keys.write(input, 0, key)))
  }

  _versions ([json, ...values]) {
    return JSON.parse(json).map(({ value, expiresAt, ...version }) => ({
      ...version,
      expiresAt: expiresAt === null ? undefined : expiresAt,
      value: value < 0 ? undefined : this._values.read(values[value], 0, values[value].length)
    }))
  }

  /** The versions that are kept, newest first; the value of a deletion is undefined. */
  history (key) {
    return this._versions(core.run('history', this._handle, undefined, this._keyBytes(key)))
  }

  getVersion (key, version) {
    if (!Number.isSafeInteger(version) || version < 0) throw wrongType('version', 'a whole number', version)
    return this._versions(core.run('getVersion', this._handle, { version }, this._keyBytes(key)))[0]
  }

  /** What was there behind the commit with this sequence; undefined for nothing. */
  getAt (key, sequence) {
    if (!Number.isSafeInteger(sequence) || sequence < 0) throw wrongType('sequence', 'a whole number', sequence)
    return this._versions(core.run('getAt', this._handle, { sequence }, this._keyBytes(key)))[0]
  }

  /** Entries { key, value }, sync and async iterable; sees one moment. */
  scan (options) {
    return new Range(this, options, 'entries')
  }

  range (options) { return this.scan(options) }
  getRange (options) { return this.scan(options) }
  entries (options) { return this.scan(options) }

  /** Those whose keys begin so. */
  prefix (prefix, options) {
    if (prefix === undefined) throw wrongType('the prefix', 'a key or the beginning of one', prefix)
    return this.scan({ ...without(options, 'prefix', 'the options of prefix'), prefix })
  }

  keys (options) { return new Range(this, options, 'keys') }
  getKeys (options) { return this.keys(options) }
  values (options) { return new Range(this, options, 'values') }
  [Symbol.iterator] () { return this.scan()[Symbol.iterator]() }
  [Symbol.asyncIterator] () { return this.scan()[Symbol.asyncIterator]() }

  /** How many keys; those that have expired and were not removed yet are counted. */
  get length () { return core.run('length', this._handle) }

  watch (options) { return this.database.watch({ ...without(options, 'table', 'a watch of a table'), table: this }) }
  createReadStream (key, options) { return readStream(this, key, options) }
  createWriteStream (key, options) { return writeStream(this, key, options) }

  async resize (partitions) {
    if (!Number.isSafeInteger(partitions) || partitions < 1) throw wrongType('partitions', 'a whole number from 1 on', partitions)
    return JSON.parse((await core.start('resize', this._handle, { partitions }))[0])
  }

  stats () { return JSON.parse(core.run('tableStats', this._handle)[0]) }
}

/** The same with promises: writes of one turn of the loop become one commit; reads run on a thread. */
class TablePromises {
  constructor (table) {
    this._table = table
  }

  /** Resolves with the sequence of the commit. */
  put (key, value, options) {
    const table = this._table
    if (options === undefined) return table.database._queue.put(table, key, value)
    return table.database._queue.write(PUT, table, key, value, options)
  }

  delete (key, options) {
    const table = this._table
    if (options === undefined) return table.database._queue.delete(table, key)
    return table.database._queue.write(DELETE, table, key, undefined, options)
  }

  putIf (key, value, expect, options) {
    try {
      expectFlags(expect)
      return this.put(key, value, { ...without(options, 'expect', 'putIf'), expect })
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async get (key) {
    const found = await core.start('get', this._table._handle, undefined, this._table._keyBytes(key))
    return found === null ? undefined : this._table._values.read(found, 0, found.length)
  }

  async getEntry (key) {
    const found = await core.start('getEntry', this._table._handle, undefined, this._table._keyBytes(key))
    return found === null ? undefined : this._table._versions(found)[0]
  }

  /** In the order of the calls, on a thread: the value is copied, however long. */
  async setExpiry (key, options) {
    const { _handle: handle, database } = this._table
    const keyBytes = this._table._keyBytes(key)
    const flags = writeFlags(options, write, 'an expiry')
    const done = await database._queue.turn(() => core.start('setExpiry', handle, { ...flags }, keyBytes))
    return done === null ? undefined : JSON.parse(done[0])
  }

  async has (key) { return this._table.has(key) }
  async getMany (keys) { return this._table.getMany(keys) }

  putMany (entries, options) {
    return this._batch(options, batch => {
      checkIterable(entries, 'entries', 'a list of [key, value]')
      for (const entry of entries) {
        checkEntry(entry)
        batch.put(this._table, entry[0], entry[1])
      }
    })
  }

  batch (operations, options) {
    return this._batch(options, batch => {
      checkIterable(operations, 'operations', 'a list of operations')
      for (const operation of operations) batch._add(operation, this._table)
    })
  }

  /** The promise itself, whose callbacks come in the order of the calls. */
  _batch (options, fill) {
    try {
      const batch = this._table.database.batch()
      fill(batch)
      return batch.count === 0 ? Promise.resolve(undefined) : batch.writeAsync(options)
    } catch (error) {
      return Promise.reject(error)
    }
  }
}

module.exports = { Table }
