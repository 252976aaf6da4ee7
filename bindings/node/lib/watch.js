'use strict'

const core = require('./core')
const { make } = require('./errors')
const { native } = core

/** What is kept there is the binding's own. */
const ENCODINGS = 'atomkv.encodings'

/** The changes of a database, one after the other: for await (const change of watch). */
class Watch {
  constructor (database, options, prefix, tables, signal) {
    const [told] = core.run('watch', database._open(), { ...options, tables: tables.map(table => table._handle) }, prefix)
    this._database = database
    this._handle = JSON.parse(told).handle
    this._queue = []
    this._waiting = undefined
    this._resumeFrom = undefined
    this._tail = Promise.resolve()
    core.registry.register(this, this._handle, this)
    database._children.set(this._handle, new WeakRef(this))
    if (signal !== undefined) {
      this._signal = signal
      const weak = new WeakRef(this)
      this._abort = () => {
        const watch = weak.deref()
        if (watch !== undefined) watch._stop(signal)
      }
      if (signal.aborted) this._stop(signal)
      else signal.addEventListener('abort', this._abort, { once: true })
    }
  }

  _stop (signal) {
    this._failure = make('ABORTED', 'the watch was aborted', undefined, { cause: signal.reason })
    this.close()
  }

  _read ([json, ...bytes]) {
    return JSON.parse(json).filter(change => change.table !== ENCODINGS).map(change => {
      const table = this._database._tables.get(change.table)
      const read = (place, encoding) => {
        if (place < 0) return undefined
        const part = bytes[place]
        return encoding === undefined ? part : encoding.read(part, 0, part.length)
      }
      return {
        ...change,
        key: read(change.key, table && table._keys),
        value: read(change.value, table && table._values),
        expiresAt: change.expiresAt === null ? undefined : change.expiresAt
      }
    })
  }

  /** The changes that there are by now, without waiting. */
  take () {
    if (this._failure) throw this._failure
    if (this._handle === 0) throw make('CLOSED', 'the watch is closed')
    if (this._waiting) throw make('BUSY', 'a call of next waits for changes; await it first')
    const queued = this._queue.splice(0)
    return queued.length > 0 ? queued : this._read(core.run('changes', this._handle))
  }

  next () {
    // One after the other, also for those who ask twice at once.
    const result = this._tail.then(() => this._next())
    this._tail = result.catch(() => {})
    return result
  }

  async _next () {
    for (;;) {
      if (this._failure) throw this._failure
      if (this._handle === 0) return { done: true, value: undefined }
      if (this._queue.length > 0) return { done: false, value: this._queue.shift() }
      const now = this._read(core.run('changes', this._handle))
      if (now.length > 0) {
        this._queue = now
        continue
      }
      const cancel = new AbortController()
      this._resumeFrom = core.run('resumeFrom', this._handle)
      this._waiting = cancel
      try {
        this._queue = this._read(await core.start('waitForChanges', this._handle, undefined, undefined, undefined, { signal: cancel.signal }))
      } catch (error) {
        if (this._handle !== 0) throw error
      } finally {
        this._waiting = undefined
      }
    }
  }

  /** From where another watch goes on (option `from`) to get what this one has not handed over. */
  get resumeFrom () {
    if (this._queue.length > 0) return this._queue[0].sequence
    // While somebody waits, nothing is handed over.
    if (this._handle === 0 || this._waiting) return this._resumeFrom
    return core.run('resumeFrom', this._handle)
  }

  async return () {
    this.close()
    return { done: true, value: undefined }
  }

  close () {
    if (this._handle === 0) return
    this._resumeFrom = this.resumeFrom
    core.registry.unregister(this)
    this._database._children.delete(this._handle)
    if (this._signal) this._signal.removeEventListener('abort', this._abort)
    native.release(this._handle)
    this._handle = 0
    this._queue = []
    if (this._waiting) this._waiting.abort()
  }

  [Symbol.asyncIterator] () { return this }
}
if (Symbol.asyncDispose) Watch.prototype[Symbol.asyncDispose] = Watch.prototype.return

module.exports = { Watch }
