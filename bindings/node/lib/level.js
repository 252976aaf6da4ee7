'use strict'
// An abstract-level database on a table: what the ecosystem of Level expects. Needs the package `abstract-level`.

const { AbstractLevel, AbstractIterator, AbstractKeyIterator, AbstractValueIterator, AbstractSnapshot } = require('abstract-level')
const { open, inMemory } = require('./database')

const kOptions = Symbol('options')

function translate (error) {
  if (error.code === 'ATOMKV_CLOSED') error.code = 'LEVEL_DATABASE_NOT_OPEN'
  return error
}

/** Options of a scan from those of a Level iterator; keys are bytes. */
function rangeOptions ({ gt, gte, lt, lte, reverse, limit }) {
  const options = { reverse: Boolean(reverse) }
  // Level's keys may be empty, AtomKV's not: every key has a byte before it.
  options.gte = PREFIX
  if (gt !== undefined) {
    delete options.gte
    options.gt = keyOf(gt)
  } else if (gte !== undefined) options.gte = keyOf(gte)
  if (lt !== undefined) options.lt = keyOf(lt)
  else if (lte !== undefined) options.lte = keyOf(lte)
  if (limit >= 0 && limit < Infinity) options.limit = limit
  return options
}

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
      implicitSnapshots: true
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
    if (errorIfExists && this._database.tables().includes(table)) {
      if (this._owns) this._database.closeSync()
      throw new Error(`a table ${table} exists in ${this.location} (errorIfExists)`)
    }
    this._table = this._database.table(table, { ordered: true, keyEncoding: 'binary', valueEncoding: 'binary' })
  }

  async _close () {
    if (this._owns) await this._database.close()
  }

  _getSync (key, { snapshot }) {
    const found = this._table._get(keyOf(key), snapshot ? snapshot._view() : 0)
    return found
  }

  async _get (key, options) { return this._getSync(key, options) }

  async _getMany (keys, { snapshot }) {
    return this._table._getMany(keys.map(keyOf), snapshot ? snapshot._view() : 0)
  }

  async _has (key, { snapshot }) { return snapshot ? this._getSync(key, { snapshot }) !== undefined : this._table.has(keyOf(key)) }

  async _hasMany (keys, options) {
    const found = []
    for (const key of keys) found.push(await this._has(key, options))
    return found
  }

  async _put (key, value, { sync }) {
    try {
      if (sync) await this._table.promises.put(keyOf(key), value, { durability: 'sync' })
      else this._table.put(keyOf(key), value)
    } catch (error) { throw translate(error) }
  }

  async _del (key, { sync }) {
    try {
      if (sync) await this._table.promises.delete(keyOf(key), { durability: 'sync' })
      else this._table.delete(keyOf(key))
    } catch (error) { throw translate(error) }
  }

  async _batch (operations, { sync }) {
    if (operations.length === 0) return
    const batch = this._database.batch()
    for (const { type, key, value } of operations) {
      if (type === 'put') batch.put(this._table, keyOf(key), value)
      else batch.delete(this._table, keyOf(key))
    }
    await (sync ? batch.writeAsync({ durability: 'sync' }) : batch.write())
  }

  async _clear (options) {
    const range = rangeOptions(options)
    const view = options.snapshot ? options.snapshot._snapshot : this._table
    const keys = options.snapshot ? view.keys(this._table, range) : view.keys(range)
    let batch = this._database.batch()
    for (const key of keys) {
      batch.delete(this._table, key)
      if (batch.count >= 10000) await batch.writeAsync()
    }
    if (batch.count > 0) await batch.writeAsync()
    batch = undefined
  }

  _iterator (options) { return new Iterator(this, options, 'entries') }
  _keys (options) { return new KeyIterator(this, options, 'keys') }
  _values (options) { return new ValueIterator(this, options, 'values') }

  _snapshot (options) { return new Snapshot(this, options) }
}

class Snapshot extends AbstractSnapshot {
  constructor (db, options) {
    super(options)
    this._snapshot = db._database.snapshot()
  }

  _view () { return this._snapshot.handle }
  async _close () { this._snapshot.close() }
}

function iteratorOn (Base) {
  return class extends Base {
    constructor (db, options, kind) {
      super(db, options)
      this._kind = kind
      this._options = options
      this._left = options.limit >= 0 && options.limit < Infinity ? options.limit : Infinity
      // What an iterator sees is what was there when it was made.
      this._own = options.snapshot ? undefined : db._database.snapshot()
      this._begin(rangeOptions(options))
    }

    _begin (range) {
      const snapshot = this._own || this._options.snapshot._snapshot
      delete range.limit
      this._source = snapshot[this._kind === 'entries' ? 'scan' : this._kind](this.db._table, range)[Symbol.iterator]()
    }

    _item (value) {
      if (this._kind === 'keys') return value.subarray(1)
      if (this._kind === 'values') return value
      return [value.key.subarray(1), value.value]
    }

    async _next () {
      if (this._left <= 0) return undefined
      const { done, value } = this._source.next()
      if (done) return undefined
      this._left--
      return this._item(value)
    }

    async _nextv (size) {
      const items = []
      while (items.length < size) {
        const item = this._left > 0 ? this._source.next() : { done: true }
        if (item.done) break
        this._left--
        items.push(this._item(item.value))
      }
      return items
    }

    async _all () {
      const items = []
      for (;;) {
        const part = await this._nextv(1000)
        if (part.length === 0) return items
        items.push(...part)
      }
    }

    _seek (target) {
      this._source.return()
      const range = rangeOptions(this._options)
      const key = keyOf(target)
      const { reverse } = this._options
      const bound = (names) => names.map(name => range[name]).find(value => value !== undefined)
      const low = bound(['gt', 'gte'])
      const high = bound(['lt', 'lte'])
      const isBelow = low !== undefined && Buffer.compare(key, low) < 0
      const isAbove = high !== undefined && Buffer.compare(key, high) > 0
      if (isBelow || isAbove) {
        // Level's rule: outside its range an iterator is at its end.
        this._source = [][Symbol.iterator]()
        return
      }
      if (reverse) {
        if (!(range.lt !== undefined && Buffer.compare(key, range.lt) === 0)) {
          delete range.lt
          range.lte = key
        }
      } else if (!(range.gt !== undefined && Buffer.compare(key, range.gt) === 0)) {
        delete range.gt
        range.gte = key
      }
      this._begin(range)
    }

    async _close () {
      if (this._source.return) this._source.return()
      if (this._own) this._own.close()
    }
  }
}

const Iterator = iteratorOn(AbstractIterator)
const KeyIterator = iteratorOn(AbstractKeyIterator)
const ValueIterator = iteratorOn(AbstractValueIterator)

module.exports = { AtomLevel }
