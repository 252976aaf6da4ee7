'use strict'

const path = require('node:path')
const { fileURLToPath } = require('node:url')
const core = require('./core')
const encodings = require('./encodings')
const options = require('./options')
const { Batch } = require('./batch')
const { Queue } = require('./queue')
const { Table } = require('./table')
const { Snapshot, Transaction, dispose } = require('./views')
const { Watch } = require('./watch')
const { make, wrongType } = require('./errors')

/** Where the encodings of tables are kept that are not the default ones. */
const ENCODINGS = 'atomkv.encodings'
const ATTEMPTS = 64
/** No system has longer paths, and no database longer names. */
const NAME_LENGTH_MAX = 65536

function checkName (name, what) {
  if (name.length > NAME_LENGTH_MAX) throw make('INVALID_ARGUMENT', `${what} has ${name.length} characters, which is too long`)
  encodings.checkText(name, what)
}

function directory (place) {
  if (place instanceof URL) {
    try {
      return fileURLToPath(place)
    } catch (error) {
      throw make('INVALID_ARGUMENT', `the path ${place} is no file: URL of this machine: ${error.message}`, undefined, { cause: error })
    }
  }
  if (typeof place !== 'string' || place === '' || place.includes('\0')) throw wrongType('the path', 'a string that is a path, or a file URL', place)
  checkName(place, 'the path')
  return path.resolve(place)
}

/** What a transaction's function has returned, if it has ended the transaction itself. */
function ended (transaction, result) {
  if (transaction._held.isCutOff) throw make('CLOSED', 'the database was closed before the transaction was committed; nothing of it was written')
  return result
}

/**
 * Whether a transaction is worth another attempt: not if what it found at the commit is as old as what it sees. Then nothing that
 * it has read has changed there, but a condition of its own does not hold.
 */
function mayHoldLater (error, transaction) {
  return error.code === 'ATOMKV_CONFLICT' && !(error.found !== null && error.found.sequence <= transaction.sequence)
}

/** An encoding of the user's own is that object, not its name: another one of that name may do something else. */
function hasEncodings ({ _keys, _values }, keys, values) {
  return _keys.name === keys.name && _values.name === values.name && _values.own === values.own
}

/** A database in one directory. Several workers of a process may open the same one. */
class Database {
  constructor (opened) {
    const { handle, path } = JSON.parse(opened[0])
    this.path = path
    this._handle = handle
    // What was opened last by each name, and all that were opened otherwise than others, by name and options.
    this._tables = new Map()
    this._variants = new Map()
    // By handle; what nobody holds any more goes by itself.
    this._children = new Map()
    this._queue = new Queue(this)
    this._closing = undefined
    this._handles = [handle]
    core.registry.register(this, this._handles, this)
  }

  _open () {
    if (this._handle === 0 || this._closing) throw make('CLOSED', 'the database is closed')
    return this._handle
  }

  get isOpen () { return this._handle !== 0 && !this._closing }

  /** Opens a table, and creates it if it is not there. Encodings that are not named are those that it has. */
  table (name, given) {
    if (typeof name !== 'string') throw wrongType("a table's name", 'a string', name)
    checkName(name, "a table's name")
    const { keyEncoding, valueEncoding, ...rest } = options.checkTable(given)
    const keys = keyEncoding === undefined ? undefined : encodings.keyEncoding(keyEncoding)
    const values = valueEncoding === undefined ? undefined : encodings.valueEncoding(valueEncoding)
    this._open()
    const known = this._tables.get(name)
    if (known !== undefined && given === undefined) return known
    const existed = known !== undefined || this.tables().includes(name)
    const [key, value] = existed ? this._encodings(name, keys, values, existed) : []
    // What was opened before its encodings were named goes on as it was opened.
    const isKnown = known !== undefined && hasEncodings(known, key, value)
    // As in every language, a table that is there is opened as it is where nothing else is asked for.
    if (isKnown && Object.keys(rest).length === 0) return known
    const variant = JSON.stringify([name, rest])
    const variants = this._variants.get(variant) || []
    const same = existed && variants.find(table => hasEncodings(table, key, value))
    if (same) return same
    const { handle, durability, refusesKeys } = JSON.parse(core.run('table', this._handle, { name, ...rest })[0])
    try {
      const table = new Table(this, name, handle, ...(existed ? [key, value] : this._encodings(name, keys, values, existed)), durability, refusesKeys)
      this._variants.set(variant, [...variants, table])
      this._handles.push(handle)
      if (!isKnown) this._tables.set(name, table)
      return table
    } catch (error) {
      core.native.release(handle)
      throw error
    }
  }

  _encodings (name, keys, values, existed) {
    const given = { key: keys && keys.name, value: values && values.name }
    let stored
    const isDefault = (given.key || 'utf8') === 'utf8' && (given.value || 'binary') === 'binary'
    if (name !== ENCODINGS && (!isDefault || this._names().includes(ENCODINGS))) {
      // What another client has written goes by the encodings that are named first.
      const named = isDefault ? undefined : { key: given.key || 'utf8', value: given.value || 'binary' }
      try {
        stored = this._stored(name, named)
      } catch (error) {
        if (error.code !== 'ATOMKV_READ_ONLY') throw error
        // Nothing can be stored: they are those of this opening.
        stored = named
      }
    }
    if (stored !== undefined && (stored === null || typeof stored.key !== 'string' || typeof stored.value !== 'string')) {
      throw make('TABLE_MISMATCH', `what the table ${ENCODINGS} says of table "${name}" is no object with the names of a key and a value encoding; put one there`, { table: name })
    }
    if (stored === undefined) stored = { key: existed && given.key ? given.key : 'utf8', value: 'binary' }
    for (const kind of ['key', 'value']) {
      if (given[kind] !== undefined && given[kind] !== stored[kind]) {
        throw make('TABLE_MISMATCH', `table "${name}" has the ${kind} encoding ${stored[kind]}, not ${given[kind]}; open it with the same one`, { table: name })
      }
    }
    if (values === undefined && !['binary', 'utf8', 'json'].includes(stored.value)) {
      throw make('TABLE_MISMATCH', `table "${name}" has the value encoding ${stored.value}: give that encoding`, { table: name })
    }
    return [keys || encodings.keyEncoding(stored.key), values || encodings.valueEncoding(stored.value)]
  }

  /** The names of a table's encodings: those that are kept, else those that are named, which are kept then. */
  _stored (name, named) {
    const handle = JSON.parse(core.run('table', this._handle, { name: ENCODINGS })[0]).handle
    const kept = new Table(this, ENCODINGS, handle, encodings.keyEncoding('utf8'), encodings.valueEncoding('json'))
    try {
      const stored = kept.get(name)
      if (stored !== undefined || named === undefined) return stored
      kept.put(name, named, { expect: 'absent' })
      return named
    } catch (error) {
      if (error.code !== 'ATOMKV_CONFLICT') throw error
      return kept.get(name)
    } finally {
      core.native.release(handle)
    }
  }

  /** The names of all tables. */
  tables () {
    return this._names().filter(name => name !== ENCODINGS)
  }

  _names () {
    return JSON.parse(core.run('tables', this._open())[0])
  }

  batch () {
    this._open()
    return new Batch(this)
  }

  snapshot () {
    return new Snapshot(this, core.run('snapshot', this._open()))
  }

  begin () {
    return new Transaction(this, core.run('begin', this._open()))
  }

  /** Runs a function in a transaction and commits; again if others have changed what it read. Returns what it returns. */
  transaction (f, given) {
    if (typeof f !== 'function') throw wrongType('the first argument', 'a function', f)
    options.durabilityCode(given, 'a transaction')
    for (let attempt = 1; ; attempt++) {
      const transaction = this.begin()
      try {
        const result = f(transaction)
        if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
          Promise.resolve(result).catch(() => {})
          throw make('INVALID_ARGUMENT', 'the function of transaction must not be async; use transactionAsync')
        }
        if (!transaction.isOpen) return ended(transaction, result)
        try {
          transaction.commit(given)
        } catch (error) {
          if (mayHoldLater(error, transaction) && attempt < ATTEMPTS) continue
          throw error
        }
        return result
      } finally {
        transaction.close()
      }
    }
  }

  /** The same with an async function; others may write meanwhile, the loop is not blocked. */
  async transactionAsync (f, given) {
    if (typeof f !== 'function') throw wrongType('the first argument', 'a function', f)
    options.durabilityCode(given, 'a transaction')
    for (let attempt = 1; ; attempt++) {
      const transaction = this.begin()
      try {
        const result = await f(transaction)
        if (!transaction.isOpen) return ended(transaction, result)
        try {
          await transaction.commitAsync(given)
        } catch (error) {
          if (!mayHoldLater(error, transaction) || attempt >= ATTEMPTS) throw error
          await new Promise(resolve => setTimeout(resolve, Math.random() * Math.min(attempt, 20)))
          continue
        }
        return result
      } finally {
        transaction.close()
      }
    }
  }

  /** An async iterable of changes: of all tables, or of some. */
  watch (given) {
    const { table, tables, prefix, signal, ...rest } = options.check(given, options.watch, 'a watch')
    options.checkOne({ table, tables }, ['table', 'tables'], 'a watch')
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrongType('signal', 'an AbortSignal', signal)
    if (tables !== undefined && (!Array.isArray(tables) || tables.length === 0)) throw wrongType('tables', 'a list of one table or more', tables)
    const watched = tables || (table === undefined ? [] : [table])
    for (const each of watched) if (!(each instanceof Table) || each.database !== this) throw wrongType('a table', 'a table of this database', each)
    let bytes
    if (prefix !== undefined) {
      // Where keys are encoded in several ways, the prefix is one of bytes.
      const names = new Set(watched.map(each => each._keys.name))
      const keys = names.size === 1 ? watched[0]._keys : encodings.keyEncoding('binary')
      bytes = Buffer.from(core.input.subarray(0, (keys.prefix || keys.write)(core.input, 0, prefix)))
    }
    return new Watch(this, rest, bytes, watched, signal, Array.isArray(prefix))
  }

  /** Everything that was written before is on stable storage when this resolves; queued writes too. */
  async sync () {
    this._open()
    await this._queue.drain()
    await core.start('sync', this._open())
  }

  get flushed () { return this.sync() }
  /** Queued writes are committed when this resolves. */
  get committed () { return this._queue.drain() }

  async checkpoint () { await core.start('checkpoint', this._open()) }

  async _care (name, given, more) {
    const { signal, onProgress, ...rest } = options.check(given, options.care[name], name)
    return JSON.parse((await core.start(name, this._open(), { ...rest, ...more }, undefined, undefined, { signal, onProgress }))[0])
  }

  compact (given) { return this._care('compact', given) }
  verify (given) { return this._care('verify', given) }
  async backup (destination, given) { return this._care('backup', given, { destination: directory(destination) }) }

  stats () { return JSON.parse(core.run('stats', this._open())[0]) }

  /** Of a database that was opened for reading: a newer moment, or undefined if there is none. */
  async refresh () {
    const newer = await core.start('refresh', this._open())
    return newer === null ? undefined : new Database(newer)
  }

  /** Commits what is queued and closes. Everything that is derived from it answers that it is closed. */
  close () {
    if (this._closing === undefined) this._closing = this._close()
    return this._closing
  }

  async _close () {
    await this._queue.drain()
    // `closeSync` may not have waited for it.
    if (this._handle === 0) return
    const handle = this._release()
    await core.start('close', handle)
    core.native.release(handle)
  }

  closeSync () {
    if (this._handle === 0) return
    this._closing = Promise.resolve()
    const handle = this._release()
    core.run('close', handle)
    core.native.release(handle)
  }

  _release () {
    for (const held of [...this._children.values()]) held.cutOff()
    for (const table of [...this._variants.values()].flat()) {
      core.native.release(table._handle)
      table._handle = 0
    }
    this._tables.clear()
    this._variants.clear()
    const handle = this._handle
    this._handle = 0
    core.registry.unregister(this)
    return handle
  }

  [dispose] () { this.closeSync() }
}
if (Symbol.asyncDispose) Database.prototype[Symbol.asyncDispose] = Database.prototype.close

function openOptions (place, given) {
  const checked = options.check(given, options.database, 'open')
  const { deadRatio } = checked
  if (deadRatio !== undefined && typeof deadRatio !== 'number') throw wrongType('deadRatio', 'a number', deadRatio)
  if (deadRatio !== undefined && !(deadRatio >= 0.05 && deadRatio < Infinity)) throw make('INVALID_ARGUMENT', `deadRatio is a share of 0.05 or more, not ${deadRatio}`)
  return { ...checked, path: directory(place) }
}

/** Opens a directory; creates it if it is not there. */
function open (place, given) {
  return new Database(core.run('open', 0, openOptions(place, given)))
}

/** The same on a thread: for databases that have much to recover. */
async function openAsync (place, given) {
  return new Database(await core.start('open', 0, openOptions(place, given)))
}

function inMemory () {
  return new Database(core.run('inMemory', 0))
}

async function restore (source, destination, given) {
  const { signal, onProgress, ...rest } = options.check(given, options.care.restore, 'restore')
  const places = { source: directory(source), destination: directory(destination) }
  return JSON.parse((await core.start('restore', 0, { ...rest, ...places }, undefined, undefined, { signal, onProgress }))[0])
}

async function verify (place, given) {
  const { signal, onProgress, ...rest } = options.check(given, options.care.verify, 'verify')
  return JSON.parse((await core.start('verifyDirectory', 0, { ...rest, path: directory(place) }, undefined, undefined, { signal, onProgress }))[0])
}

module.exports = { Database, open, openAsync, inMemory, restore, verify }
