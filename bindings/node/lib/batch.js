'use strict'

const core = require('./core')
const { Pack, PACK_BYTES, PUT, DELETE, EXPECT } = require('./pack')
const { check, writeFlags, expectFlags, batched, condition, durabilityCode } = require('./options')
const { keyEncoding } = require('./encodings')
const { make, wrongType } = require('./errors')

const EXPECT_ONLY = { expect: condition.expect }
const NO_FLAGS = { bits: 0, expected: 0, expiry: 0 }
const asBytes = keyEncoding('binary')
const spare = []

/** Changes of any tables that happen as one commit, or not at all. */
class Batch {
  constructor (database) {
    this._database = database
    this._pack = spare.pop() || new Pack()
    this._default = 0
  }

  get count () { return this._pack.count }

  /** That of a commit which names none: what the tables in it have. */
  _durability (options) {
    return durabilityCode(options, 'a batch') || this._default
  }

  _table (table) {
    if (table === undefined || table === null || table._handle === undefined) throw wrongType('the table', 'a table', table)
    if (table.database !== this._database) throw make('INVALID_ARGUMENT', 'the table belongs to another database')
    return table
  }

  put (table, key, value, options) {
    const encoded = this._table(table)._values.encode(value)
    return this._append(PUT, table, key, encoded, options === undefined ? NO_FLAGS : writeFlags(options, batched, 'a put of a batch'))
  }

  delete (table, key, options) {
    const flags = writeFlags(options, condition, 'a delete of a batch')
    return this._append(DELETE, this._table(table), key, undefined, flags)
  }

  /** A condition on a key that is not written. */
  expect (table, key, expect) {
    const flags = expectFlags(expect)
    return this._append(EXPECT, this._table(table), key, undefined, flags)
  }

  _append (kind, table, key, value, { bits, expected, expiry }) {
    let keys = table._keys
    if (Array.isArray(key)) {
      // An element may be a getter that writes or fills this batch: the pack is chosen behind it.
      key = table._keyBytes(key)
      keys = asBytes
    }
    // As it is chosen here: until now, what the key or the value ran may have written this batch.
    if (table.durability === 'sync') this._default = 2
    this._pack.add(kind, table._handle, keys, key, value, bits, expected, expiry)
    return this
  }

  _add (operation, table) {
    if (operation === null || typeof operation !== 'object') throw wrongType('an operation', 'an object', operation)
    const { type, key, value, table: own, ...options } = operation
    const target = own === undefined ? table : own
    const given = Object.keys(options).length === 0 ? undefined : options
    if (type === 'put' || type === undefined) return this.put(target, key, value, given)
    if (type === 'delete' || type === 'del') return this.delete(target, key, given)
    if (type === 'expect') return this.expect(target, key, check(options, EXPECT_ONLY, 'a condition of a batch').expect)
    if (typeof type !== 'string') throw wrongType('the type of an operation', 'put, delete or expect', type)
    throw make('INVALID_ARGUMENT', `the type of an operation is put, delete or expect, not ${type}`)
  }

  clear () {
    this._pack.clear()
    this._default = 0
    return this
  }

  /** Commits now; returns the sequence, undefined if there was nothing to delete. The batch is empty then. */
  write (options) {
    const code = this._durability(options)
    const sequence = core.native.apply(this._database._open(), this._pack.buffer, this._pack.count, code)
    this._done()
    return sequence < 0 ? undefined : sequence
  }

  /** The same behind what is queued, on a thread if it is large or has to wait. */
  writeAsync (options) {
    try {
      const durability = this._durability(options)
      this._database._open()
      // An empty one is an error, which is told as `write` tells it.
      if (this._pack.count === 0) return Promise.resolve(this.write(options))
      return this._database._queue.whole(this._take(), durability)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The operations; few of them without the room that there was for more, since many batches may be queued. */
  _take () {
    const pack = this._pack
    if (pack.buffer.length > PACK_BYTES) {
      this._pack = new Lazy(this)
      this._default = 0
      return pack
    }
    const taken = pack.take()
    this._done()
    return taken
  }

  _done () {
    this._pack.clear()
    this._default = 0
    if (this._pack instanceof Lazy) return
    if (spare.length < 4 && this._pack.buffer.length <= 8 << 20) spare.push(this._pack)
    this._pack = new Lazy(this)
  }
}

/** Stands for the pack of a batch that was written until it is used again. */
class Lazy {
  constructor (batch) {
    this.batch = batch
    this.count = 0
    this.buffer = Buffer.alloc(0)
  }

  clear () {}
  bytes () { return this.buffer }

  add (...operation) {
    this.batch._pack = spare.pop() || new Pack()
    this.batch._pack.add(...operation)
  }
}

module.exports = { Batch }
