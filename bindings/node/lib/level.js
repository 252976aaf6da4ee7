'use strict'
// An abstract-level database on a table: what the ecosystem of Level expects. Needs the package `abstract-level`.

const { AbstractLevel, AbstractIterator, AbstractKeyIterator, AbstractValueIterator, AbstractSnapshot } = require('abstract-level')
const { open, inMemory } = require('./database')

const kOptions = Symbol('options')

/** Entries that are read before others have their turn. */
const PAGE = 1000

/** An error as Level names it. */
function translate (error) {
  if (error.code === 'ATOMKV_CLOSED') return Object.assign(new Error('Database is not open', { cause: error }), { code: 'LEVEL_DATABASE_NOT_OPEN' })
  return error
}

/** Does what may fail. */
function guarded (f) {
  try {
    return f()
  } catch (error) {
    throw translate(error)
  }
}

function aborted (signal) {
  const error = new Error('Operation has been aborted', { cause: signal.reason })
  return Object.defineProperty(Object.assign(error, { code: 'LEVEL_ABORTED' }), 'name', { value: 'AbortError' })
}

/** Options of a scan from those of a Level iterator; keys are bytes. As Level has it, `gte` wins over `gt`, `lte` over `lt`. */
function rangeOptions ({ gt, gte, lt, lte, reverse, limit }) {
  const options = { reverse: Boolean(reverse) }
  if (gte !== undefined) options.gte = keyOf(gte)
  else if (gt !== undefined) options.gt = keyOf(gt)
  else options.gte = PREFIX
  if (lte !== undefined) options.lte = keyOf(lte)
  else if (lt !== undefined) options.lt = keyOf(lt)
  if (limit >= 0 && limit < Infinity) options.limit = limit
  return options
}

// Level's keys may be empty, AtomKV's not: every key has a byte before it.
const PREFIX = Buffer.from([107])

function keyOf (key) {
  const bytes = Buffer.allocUnsafe(key.length + 1)
  bytes[0] = PREFIX[0]
  bytes.set(key, 1)
  return bytes
}

class AtomLevel extends AbstractLevel {
  constructor (location, options) {
    const { database, table, ...rest } = options || {}
    super({
      encodings: { buffer: true },
      createIfMissing: true,
      errorIfExists: true,
      seek: true,
      has: true,
      getSync: true,
      explicitSnapshots: true,
      implicitSnapshots: true,
      signals: { iterators: true }
    }, rest)
    if (database === undefined && typeof location !== 'string') {
      throw Object.assign(new TypeError("The first argument 'location' must be a string"), { code: 'LEVEL_MISSING_LOCATION' })
    }
    this.location = location
    this[kOptions] = { database, table: table || 'level' }
  }

  get type () { return 'atomkv' }

  async _open ({ createIfMissing, errorIfExists }) {
    const { database, table } = this[kOptions]
    this._owns = database === undefined
    this._database = database || (this.location === ':memory:' ? inMemory() : open(this.location, { createIfMissing }))
    try {
      if (errorIfExists && this._database.tables().includes(table)) throw new Error(`a table ${table} exists in ${this.location} (errorIfExists)`)
      this._table = this._database.table(table, { ordered: true, keyEncoding: 'binary', valueEncoding: 'binary' })
    } catch (error) {
      // Level does not close what it could not open.
      if (this._owns) this._database.closeSync()
      throw error
    }
  }

  async _close () {
    if (this._owns) await this._database.close()
  }

  _getSync (key, { snapshot }) {
    return guarded(() => this._table._get(keyOf(key), viewOf(snapshot)))
  }

  async _get (key, options) { return this._getSync(key, options) }

  async _getMany (keys, { snapshot }) {
    return guarded(() => this._table._getMany(keys.map(keyOf), viewOf(snapshot)))
  }

  async _has (key, { snapshot }) {
    return guarded(() => this._table._has(keyOf(key), viewOf(snapshot)))
  }

  async _hasMany (keys, { snapshot }) {
    return guarded(() => keys.map(key => this._table._has(keyOf(key), viewOf(snapshot))))
  }

  async _put (key, value, { sync }) {
    await this._write(batch => batch.put(this._table, keyOf(key), value), sync)
  }

  async _del (key, { sync }) {
    await this._write(batch => batch.delete(this._table, keyOf(key)), sync)
  }

  async _batch (operations, { sync }) {
    if (operations.length === 0) return
    await this._write(batch => {
      for (const { type, key, value } of operations) {
        if (type === 'put') batch.put(this._table, keyOf(key), value)
        else batch.delete(this._table, keyOf(key))
      }
    }, sync)
  }

  /** One commit; on a thread if it is to be synced. */
  async _write (fill, sync) {
    try {
      const batch = this._database.batch()
      fill(batch)
      if (sync) await batch.writeAsync({ durability: 'sync' })
      else batch.write()
    } catch (error) {
      throw translate(error)
    }
  }

  async _clear (options) {
    const range = rangeOptions(options)
    const keys = options.snapshot ? options.snapshot._snapshot.keys(this._table, range) : this._table.keys(range)
    try {
      const batch = this._database.batch()
      for (const key of keys) {
        batch.delete(this._table, key)
        if (batch.count >= 10000) await batch.writeAsync()
      }
      if (batch.count > 0) await batch.writeAsync()
    } catch (error) {
      throw translate(error)
    }
  }

  _iterator (options) { return new Iterator(this, options) }
  _keys (options) { return new KeyIterator(this, options) }
  _values (options) { return new ValueIterator(this, options) }

  _snapshot (options) { return new Snapshot(this, options) }
}

class Snapshot extends AbstractSnapshot {
  constructor (db, options) {
    super(options)
    this._snapshot = db._database.snapshot()
  }

  async _close () { this._snapshot.close() }
}

function viewOf (snapshot) {
  return snapshot ? snapshot._snapshot.handle : 0
}

function iteratorOn (Base, kind) {
  return class extends Base {
    constructor (db, options) {
      super(db, options)
      this._options = options
      this._left = options.limit >= 0 && options.limit < Infinity ? options.limit : Infinity
      // What an iterator sees is what was there when it was made.
      this._own = options.snapshot ? undefined : guarded(() => db._database.snapshot())
      this._range = rangeOptions(options)
      this._source = undefined
    }

    _item (value) {
      if (kind === 'keys') return value.subarray(1)
      if (kind === 'values') return value
      return [value.key.subarray(1), value.value]
    }

    /** The next items, at most so many. */
    _take (size) {
      return guarded(() => {
        if (this._source === undefined) {
          const snapshot = this._own || this._options.snapshot._snapshot
          this._source = snapshot[kind](this.db._table, this._range)[Symbol.iterator]()
        }
        const items = []
        while (items.length < size && this._left > 0) {
          const { done, value } = this._source.next()
          if (done) break
          this._left--
          items.push(this._item(value))
        }
        return items
      })
    }

    /** With a signal the caller may abort what it has just asked for. */
    async _turn () {
      const { signal } = this._options
      if (!signal) return
      await null
      if (signal.aborted) throw aborted(signal)
    }

    async _next () {
      if (this._options.signal) await this._turn()
      return this._take(1)[0]
    }

    async _nextv (size) {
      await this._turn()
      const items = this._take(Math.min(size, PAGE))
      while (items.length < size && items.length % PAGE === 0 && items.length > 0) {
        // Others have their turn between two pages.
        await new Promise(resolve => setImmediate(resolve))
        await this._turn()
        const more = this._take(Math.min(size - items.length, PAGE))
        if (more.length === 0) break
        for (const item of more) items.push(item)
      }
      return items
    }

    async _all () {
      return this._nextv(Infinity)
    }

    _seek (target) {
      this._end()
      const range = rangeOptions(this._options)
      const key = keyOf(target)
      const low = range.gt || range.gte
      const high = range.lt || range.lte
      if (Buffer.compare(key, low) < 0 || (high !== undefined && Buffer.compare(key, high) > 0)) {
        // Level's rule: outside its range an iterator is at its end.
        this._source = [][Symbol.iterator]()
        return
      }
      if (range.reverse) {
        if (!(range.lt !== undefined && Buffer.compare(key, range.lt) === 0)) {
          delete range.lt
          range.lte = key
        }
      } else if (!(range.gt !== undefined && Buffer.compare(key, range.gt) === 0)) {
        delete range.gt
        range.gte = key
      }
      if (this._left < Infinity) range.limit = this._left
      this._range = range
    }

    _end () {
      if (this._source !== undefined && this._source.return) this._source.return()
      this._source = undefined
    }

    async _close () {
      this._end()
      if (this._own) this._own.close()
    }
  }
}

const Iterator = iteratorOn(AbstractIterator, 'scan')
const KeyIterator = iteratorOn(AbstractKeyIterator, 'keys')
const ValueIterator = iteratorOn(AbstractValueIterator, 'values')

module.exports = { AtomLevel }
