'use strict'
// Writes with promises: those of one turn of the loop are one commit and share a promise; one commit runs at a time.

const core = require('./core')
const { Pack, PUT, DELETE } = require('./pack')
const { writeFlags, remove } = require('./options')

/** A commit does not grow beyond this. */
const GROUP_BYTES_MAX = 8 << 20
/** What the native part answers for a commit that would have to wait. */
const WOULD_WAIT = -2
/** No larger ones are committed on the loop itself, where a thread costs more than the commit. */
const AT_ONCE_COUNT_MAX = 64
const AT_ONCE_BYTES_MAX = 64 << 10

class Queue {
  constructor (database) {
    this._database = database
    this._groups = []
    this._group = undefined
    /** The group that is being committed. */
    this._running = undefined
    this._isScheduled = false
    this._spare = new Pack()
    this._flush = () => {
      this._isScheduled = false
      this._group = undefined
      this._run()
    }
  }

  _begin () {
    this._database._open()
    const group = { pack: this._spare || new Pack(), promise: undefined, resolve: undefined, reject: undefined, durability: 0 }
    this._spare = undefined
    group.promise = new Promise((resolve, reject) => Object.assign(group, { resolve, reject }))
    this._groups.push(group)
    if (!this._isScheduled) {
      this._isScheduled = true
      setImmediate(this._flush)
    }
    return group
  }

  _add (kind, table, key, value) {
    let group = this._group
    if (group === undefined) group = this._group = this._begin()
    try {
      group.pack.add(kind, table._handle, table._keys, key, value, 0, 0, 0)
    } catch (error) {
      return Promise.reject(error)
    }
    if (table.durability === 'sync') group.durability = 2
    if (group.pack.at > GROUP_BYTES_MAX) {
      this._group = undefined
      this._run()
    }
    return group.promise
  }

  put (table, key, value) {
    let encoded
    try {
      encoded = table._values.encode(value)
      return this._add(PUT, table, key, encoded)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  delete (table, key) {
    try {
      return this._add(DELETE, table, key, undefined)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** One of its own, since its condition may fail alone; in the order of the calls, as are the callbacks of their promises. */
  solo (kind, table, key, value, options) {
    try {
      return this._solo(kind, table, key, value, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  _solo (kind, table, key, value, options) {
    const encoded = kind === PUT ? table._values.encode(value) : undefined
    const { bits, expected, expiry } = kind === PUT ? writeFlags(options) : writeFlags(options, remove, 'a delete')
    this._group = undefined
    const group = this._begin()
    try {
      group.pack.add(kind, table._handle, table._keys, key, encoded, bits & ~0x60, expected, expiry)
    } catch (error) {
      this._groups.splice(this._groups.indexOf(group), 1)
      throw error
    }
    group.durability = bits >> 5 & 3 || (table.durability === 'sync' ? 2 : 0)
    return group.promise
  }

  _run () {
    while (this._running === undefined) {
      const group = this._groups.shift()
      if (group === undefined) return
      if (group === this._group) this._group = undefined
      // A group of which nothing could be encoded.
      if (group.pack.count === 0) group.resolve(undefined)
      else if (!this._commitAtOnce(group)) this._commit(group)
    }
  }

  /** On a thread. */
  _commit (group) {
    this._running = group
    const { pack } = group
    const started = core.start('apply', this._database._handle, { count: pack.count, durability: group.durability }, pack.bytes())
    this._reuse(pack)
    const done = () => {
      this._running = undefined
      this._run()
    }
    started.then(sequence => {
      group.resolve(sequence < 0 ? undefined : sequence)
      done()
    }, error => {
      group.reject(error)
      done()
    })
  }

  /** Whether a small group that has to wait for nothing has been committed, or has failed. */
  _commitAtOnce ({ pack, durability, resolve, reject }) {
    if (pack.count > AT_ONCE_COUNT_MAX || pack.at > AT_ONCE_BYTES_MAX || durability === 2) return false
    try {
      const sequence = core.native.apply(this._database._handle, pack.buffer, pack.count, durability, 1)
      if (sequence === WOULD_WAIT) return false
      resolve(sequence < 0 ? undefined : sequence)
    } catch (error) {
      reject(error)
    }
    this._reuse(pack)
    return true
  }

  _reuse (pack) {
    pack.clear()
    if (pack.buffer.length <= 2 * GROUP_BYTES_MAX) this._spare = pack
  }

  /** Resolves when everything that was queued before has been committed, or has failed. */
  async drain () {
    const before = this._running === undefined ? this._groups : [this._running, ...this._groups]
    const waiting = before.map(group => group.promise)
    this._group = undefined
    this._run()
    // What is queued meanwhile is not waited for: under load there is always something.
    await Promise.allSettled(waiting)
  }
}

module.exports = { Queue }
