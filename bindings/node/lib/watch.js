'use strict'

const core = require('./core')
const { Held } = require('./held')
const { LIST_GOES_ON } = require('./encodings')
const { make } = require('./errors')

/** What is kept there is the binding's own. */
const ENCODINGS = 'atomkv.encodings'

/** The changes of a database, one after the other: for await (const change of watch). */
class Watch {
  constructor (database, options, prefix, tables, signal, isList) {
    const [told] = core.run('watch', database._open(), { ...options, tables: tables.map(table => table._handle) }, prefix)
    this._database = database
    this._tables = tables.length === 0 ? database._tables : new Map(tables.map(table => [table.name, table]))
    this._held = new Held(database, JSON.parse(told).handle, this)
    this._listBytes = isList ? prefix.length : undefined
    this._queue = []
    this._waiting = undefined
    this._resumeFrom = undefined
    this._tail = Promise.resolve()
    const weak = new WeakRef(this)
    // Somebody may wait for changes, and is told.
    this._held.cutOff = () => {
      const watch = weak.deref()
      if (watch !== undefined) watch.close()
    }
    if (signal !== undefined) {
      this._signal = signal
      this._abort = () => {
        const watch = weak.deref()
        if (watch !== undefined) watch._stop(signal)
      }
      if (signal.aborted) this._stop(signal)
      else signal.addEventListener('abort', this._abort, { once: true })
    }
  }

  get _handle () { return this._held.handle }

  _stop (signal) {
    this._failure = make('ABORTED', 'the watch was aborted', undefined, { cause: signal.reason })
    this.close()
  }

  _read ([json, ...bytes]) {
    const read = place => place < 0 ? undefined : bytes[place]
    const isWanted = ({ table, key }) => table !== ENCODINGS && (this._listBytes === undefined || bytes[key][this._listBytes] !== LIST_GOES_ON)
    return JSON.parse(json).filter(isWanted).map(change => {
      const { expiresAt } = change
      return { ...change, key: read(change.key), value: read(change.value), expiresAt: expiresAt === null ? undefined : expiresAt }
    })
  }

  /** As the table has it that was given, or that was opened last. Not before it is handed over: what cannot be decoded takes no other change away. */
  _decode (change) {
    const table = this._tables.get(change.table)
    if (table === undefined) return change
    const read = (bytes, encoding) => bytes === undefined ? undefined : encoding.read(bytes, 0, bytes.length)
    return { ...change, key: read(change.key, table._keys), value: read(change.value, table._values) }
  }

  /** The changes that there are by now, without waiting. */
  take () {
    if (this._failure) throw this._failure
    if (this._handle === 0) throw make('CLOSED', 'the watch is closed')
    if (this._waiting) throw make('BUSY', 'a call of next waits for changes; await it first')
    if (this._queue.length === 0) this._queue = this._read(core.run('changes', this._handle))
    const taken = []
    while (this._queue.length > 0) {
      const change = this._queue.shift()
      try {
        taken.push(this._decode(change))
      } catch (error) {
        if (taken.length === 0) throw error
        // Told at the next call.
        this._queue.unshift(change)
        break
      }
    }
    return taken
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
      if (this._queue.length > 0) return { done: false, value: this._decode(this._queue.shift()) }
      const now = this._read(core.run('changes', this._handle))
      if (now.length > 0) {
        this._queue = now
        // Others have their turn between two fetches; what they take or close is seen above.
        await new Promise(resolve => setImmediate(resolve))
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
    if (this._queue.length > 0) {
      const { kind, sequence } = this._queue[0]
      // A state cannot be taken up in the middle.
      return kind === 'state' ? 0 : sequence
    }
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
    if (this._signal) this._signal.removeEventListener('abort', this._abort)
    this._held.close()
    this._queue = []
    if (this._waiting) this._waiting.abort()
  }

  [Symbol.asyncIterator] () { return this }
}
if (Symbol.asyncDispose) Watch.prototype[Symbol.asyncDispose] = Watch.prototype.return

module.exports = { Watch }
