'use strict'
// Writes with promises: those of one turn of the loop are one commit and share a promise; one commit runs at a time.

const core = require('./core')
const { Pack, PACK_BYTES, PUT, DELETE } = require('./pack')
const { writeFlags, remove } = require('./options')
const { keyEncoding } = require('./encodings')

/** A commit does not grow beyond this. */
const GROUP_BYTES_MAX = 8 << 20
/** What the native part answers for a commit that would have to wait. */
const WOULD_WAIT = -2
/** No larger ones are committed on the loop itself, where a thread costs more than the commit; nor more in one go. */
const AT_ONCE_COUNT_MAX = 64
const AT_ONCE_BYTES_MAX = 64 << 10

/** Of flags: a condition, a moment that may have passed, and a time to live of nothing. What else there is fails for no write alone. */
function mayFailAlone ({ bits, expiry }) {
  const kind = bits >> 3 & 3
  return (bits & 7) !== 0 || kind === 2 || (kind === 3 && expiry < 1)
}

const asBytes = keyEncoding('binary')
/** Of what is no commit. */
const NO_PACK = Object.freeze({ count: 0, at: 0 })

/** What else could be wrong is not the key's fault, and is told by the commit. */
function checkKey (table, keys, key) {
  try {
    core.native.has(table._handle, keys.write(core.input, 0, key), 0)
  } catch (error) {
    if (error.code === 'ATOMKV_INVALID_KEY') throw error
  }
}

class Queue {
  constructor (database) {
    this._database = database
    this._groups = []
    this._group = undefined
    /** The group that is being committed. */
    this._running = undefined
    /** What others have begun on threads. */
    this._jobs = new Set()
    this._isScheduled = false
    this._isPausing = false
    this._spare = new Pack()
    this._scratch = undefined
    this._flush = () => {
      this._isScheduled = false
      this._group = undefined
      this._run()
    }
    this._resume = () => {
      this._isPausing = false
      this._run()
    }
  }

  _common () {
    const group = this._begin(this._spare || new Pack())
    this._spare = undefined
    return group
  }

  _begin (pack) {
    this._database._open()
    const group = { pack, promise: undefined, resolve: undefined, reject: undefined, durability: 0, start: undefined }
    group.promise = new Promise((resolve, reject) => Object.assign(group, { resolve, reject }))
    this._groups.push(group)
    if (!this._isScheduled) {
      this._isScheduled = true
      setImmediate(this._flush)
    }
    return group
  }

  _add (kind, table, key, value, bits, expiry, isSynced) {
    let keys = table._keys
    if (Array.isArray(key)) {
      // An element may be a getter that writes or commits what is queued: the group is chosen behind it.
      key = table._keyBytes(key)
      keys = asBytes
    }
    // What the table alone refuses is refused here, where it is the error of nobody else.
    if (table._refusesKeys) checkKey(table, keys, key)
    let group = this._group
    if (group === undefined) group = this._group = this._common()
    try {
      group.pack.add(kind, table._handle, keys, key, value, bits, 0, expiry)
    } catch (error) {
      return Promise.reject(error)
    }
    if (isSynced) group.durability = 2
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
      return this._add(PUT, table, key, encoded, 0, 0, table.durability === 'sync')
    } catch (error) {
      return Promise.reject(error)
    }
  }

  delete (table, key) {
    try {
      return this._add(DELETE, table, key, undefined, 0, 0, table.durability === 'sync')
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** With options: one of its own only if it may fail alone. */
  write (kind, table, key, value, options) {
    try {
      const encoded = kind === PUT ? table._values.encode(value) : undefined
      const flags = kind === PUT ? writeFlags(options) : writeFlags(options, remove, 'a delete')
      // The commit's, not the operation's.
      const durability = flags.bits >> 5 & 3 || (table.durability === 'sync' ? 2 : 0)
      flags.bits &= ~0x60
      if (mayFailAlone(flags)) return this._solo(kind, table, key, encoded, flags, durability)
      return this._add(kind, table, key, encoded, flags.bits, flags.expiry, durability === 2)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  _solo (kind, table, key, encoded, { bits, expected, expiry }, durability) {
    // A key may have getters that write meanwhile: they have one of their own.
    const scratch = this._scratch || new Pack()
    this._scratch = undefined
    try {
      scratch.add(kind, table._handle, table._keys, key, encoded, bits, expected, expiry)
      return this.whole(scratch.take(), durability)
    } finally {
      scratch.clear()
      if (scratch.buffer.length <= GROUP_BYTES_MAX) this._scratch = scratch
    }
  }

  /** A commit of its own; in the order of the calls, as are the callbacks of their promises. */
  whole (pack, durability) {
    const group = this._begin(pack)
    group.durability = durability
    this._group = undefined
    return group.promise
  }

  /** Something else than a commit that takes its turn among them: `start` begins it on a thread. */
  turn (start) {
    const group = this._begin(NO_PACK)
    group.start = start
    this._group = undefined
    return group.promise
  }

  _run () {
    let count = 0
    while (this._running === undefined && !this._isPausing) {
      const group = this._groups[0]
      if (group === undefined) return
      if (count > 0 && count + group.pack.count > AT_ONCE_COUNT_MAX) {
        // Others have their turn.
        this._isPausing = true
        setImmediate(this._resume)
        return
      }
      count += group.pack.count
      this._groups.shift()
      if (group === this._group) this._group = undefined
      if (group.start !== undefined) this._wait(group, group.start)
      // A group of which nothing could be encoded.
      else if (group.pack.count === 0) group.resolve(undefined)
      else if (!this._commitAtOnce(group)) this._commit(group)
    }
  }

  /** On a thread. */
  _commit (group) {
    const { pack, durability } = group
    this._wait(group, () => {
      const started = core.start('apply', this._database._handle, { count: pack.count, durability }, pack.bytes())
      this._reuse(pack)
      return started.then(sequence => sequence < 0 ? undefined : sequence)
    })
  }

  /** The next group has its turn when this one has come to its end. */
  _wait (group, start) {
    this._running = group
    const done = () => {
      this._running = undefined
      this._run()
    }
    start().then(result => {
      group.resolve(result)
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
    const size = pack.buffer.length
    if (size >= PACK_BYTES && size <= 2 * GROUP_BYTES_MAX) this._spare = pack
  }

  /** A job that was begun elsewhere, for which `drain` is to wait. Whether it fails is told to those who have begun it. */
  track (job) {
    this._jobs.add(job)
    const forget = () => { this._jobs.delete(job) }
    job.then(forget, forget)
  }

  /** Resolves when everything that was queued or begun before has been committed, or has failed. */
  async drain () {
    const before = this._running === undefined ? this._groups : [this._running, ...this._groups]
    const waiting = [...before.map(group => group.promise), ...this._jobs]
    this._group = undefined
    this._run()
    // What is queued meanwhile is not waited for: under load there is always something.
    await Promise.allSettled(waiting)
  }
}

module.exports = { Queue }
