'use strict'

const core = require('./core')
const { Held } = require('./held')
const { durabilityCode, list } = require('./options')
const { Range, scanOptions } = require('./scan')
const { readStream } = require('./streams')
const { make, wrongType } = require('./errors')

const dispose = Symbol.dispose || Symbol.for('Symbol.dispose')

/** What a snapshot and a transaction have in common: reads of tables as they see them. */
class View {
  constructor (database, opened) {
    const { handle, ...told } = JSON.parse(opened[0])
    Object.assign(this, told)
    this._database = database
    this._held = new Held(database, handle, this)
  }

  get handle () { return this._held.handle }
  get isOpen () { return this.handle !== 0 }

  _view (table) {
    if (this.handle === 0) throw make('CLOSED', 'this is closed')
    if (!table || table.database !== this._database) throw wrongType('the first argument', 'a table of this database', table)
    return this.handle
  }

  get (table, key) {
    const view = this._view(table)
    return table._get(key, view)
  }

  has (table, key) {
    const view = this._view(table)
    return table._has(key, view)
  }

  getMany (table, keys) {
    const view = this._view(table)
    return table._getMany(keys, view)
  }

  close () { this._held.close() }

  [dispose] () { this.close() }
}

/** The whole database as it was at one moment. Close it: what it sees is kept as long. */
class Snapshot extends View {
  getEntry (table, key) {
    const view = this._view(table)
    return table._getEntry(key, view)
  }

  scan (table, options) { return this._range(table, options, 'entries') }
  keys (table, options) { return this._range(table, options, 'keys') }
  values (table, options) { return this._range(table, options, 'values') }
  createReadStream (table, key, options) { return readStream(table, key, options, this._view(table)) }

  _range (table, options, kind) {
    this._view(table)
    return new Range(table, options, kind, this)
  }
}

/** Reads of one moment and writes that happen together, unless what was read has changed. */
class Transaction extends View {
  put (table, key, value, options) {
    const view = this._written(table)
    table._put(key, value, options, 0, view)
  }

  delete (table, key, options) {
    const view = this._written(table)
    table._delete(key, options, view)
  }

  _written (table) {
    const view = this._view(table)
    if (table.durability === 'sync') this._default = 2
    return view
  }

  /** The entries of a range, its own writes among them, as an array. */
  scan (table, options) {
    return this._scan(table, options, false).map(([key, value]) => ({ key, value: table._values.read(value, 0, value.length) }))
  }

  /** The same without values. */
  keys (table, options) {
    return this._scan(table, options, true).map(([key]) => key)
  }

  _scan (table, options, keysOnly) {
    const view = this._view(table)
    const given = { ...scanOptions(table, options, list, 'a scan of a transaction'), keysOnly, other: table._handle }
    const [, ...bytes] = core.run('transactionScan', view, given)
    const items = []
    for (let index = 0; index < bytes.length; index += 2) {
      items.push([table._keys.read(bytes[index], 0, bytes[index].length), bytes[index + 1]])
    }
    return items
  }

  /** Commits; returns the sequence, undefined if nothing was written. */
  commit (options) {
    if (this.handle === 0) throw make('CLOSED', 'the transaction has ended')
    const durability = durabilityCode(options, 'a commit') || this._default || 0
    try {
      const sequence = core.run('commit', this.handle, { durability })
      return sequence < 0 ? undefined : sequence
    } finally {
      this.close()
    }
  }

  /** The same on a thread. */
  async commitAsync (options) {
    if (this.handle === 0) throw make('CLOSED', 'the transaction has ended')
    const durability = durabilityCode(options, 'a commit') || this._default || 0
    const started = core.start('commit', this.handle, { durability })
    this._database._queue.track(started)
    this.close()
    const sequence = await started
    return sequence < 0 ? undefined : sequence
  }

  abort () { this.close() }
}

module.exports = { Snapshot, Transaction, dispose }
