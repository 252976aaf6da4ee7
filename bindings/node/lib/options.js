'use strict'
// Options are checked by name and type: what is misspelt is an error.

const { make, wrongType } = require('./errors')

const FLAG = 'a boolean'
const NUMBER = 'a whole number from 0 on'
const TEXT = 'a string'
const ANY = ''

const database = {
  createIfMissing: FLAG, mapped: FLAG, background: FLAG, verifyChecksums: FLAG, readOnly: FLAG, skipDamagedLog: FLAG,
  reapExpired: FLAG, syncIntervalMs: NUMBER, syncBytes: NUMBER, segmentBytes: NUMBER, checkpointBytes: NUMBER,
  deadRatio: ANY, largeValueBytes: NUMBER, compactionRate: NUMBER, feedBytes: NUMBER
}
const table = {
  partitions: NUMBER, autoPartitions: FLAG, ordered: FLAG, durability: TEXT, ttl: NUMBER, retention: ANY,
  hasher: TEXT, sharder: TEXT, validator: TEXT, compressor: TEXT, keyEncoding: TEXT, valueEncoding: ANY
}
const condition = { expect: ANY, ifVersion: NUMBER, ifSequence: NUMBER, ifNoExists: FLAG, ifExists: FLAG }
const expiry = { ttl: ANY, expiresAt: ANY }
const durability = { durability: TEXT }
const write = { ...condition, ...expiry, ...durability }
const remove = { ...condition, ...durability }
// A batch and a transaction have one durability, which is given when they are committed.
const batched = { ...condition, ...expiry }
/** Of a scan in a transaction, which gives a list. */
const list = {
  gt: ANY, gte: ANY, lt: ANY, lte: ANY, start: ANY, end: ANY, prefix: ANY, reverse: FLAG, limit: NUMBER, contains: ANY, glob: ANY
}
/** Of a scan that gives only keys or values, where versions have no place. */
const part = { ...list, after: ANY, paged: FLAG }
const scan = { ...part, versions: FLAG }
const watch = { table: ANY, tables: ANY, prefix: ANY, from: NUMBER, stateFirst: FLAG, signal: ANY }
const job = { signal: ANY, onProgress: ANY }
const care = {
  compact: job,
  verify: { ...job, threads: NUMBER, damagesMax: NUMBER },
  backup: { ...job, link: FLAG, verify: FLAG },
  restore: { ...job, verify: FLAG }
}
const readStream = { start: NUMBER, end: NUMBER, signal: ANY, highWaterMark: NUMBER }
const writeStream = { ...write, signal: ANY, highWaterMark: NUMBER }

function check (options, known, what) {
  // Without a prototype: what others have put on that of all objects is no option.
  const result = Object.create(null)
  if (options === undefined) return result
  if (options === null || typeof options !== 'object') throw wrongType(`the options of ${what}`, 'an object', options)
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      throw make('INVALID_ARGUMENT', `${what} has no option ${name}; there are ${Object.keys(known).join(', ')}`)
    }
    if (value === undefined) continue
    const type = known[name]
    const isGood = type === FLAG
      ? typeof value === 'boolean'
      : type === NUMBER
        ? Number.isSafeInteger(value) && value >= 0
        : type === TEXT ? typeof value === 'string' : true
    if (!isGood) throw wrongType(name, type, value)
    result[name] = value
  }
  if (result.durability !== undefined && result.durability !== 'sync' && result.durability !== 'buffered') {
    throw make('INVALID_ARGUMENT', `durability is "buffered" or "sync", not "${result.durability}"`)
  }
  return result
}

/** Of a table: what its type alone does not say. */
function checkTable (options) {
  const given = check(options, table, 'a table')
  const { retention } = given
  if (retention !== undefined && retention !== 'all' && !isWhole(retention)) {
    const isTime = retention !== null && typeof retention === 'object' && isWhole(retention.ms) && Object.keys(retention).length === 1
    if (!isTime) throw wrongType('retention', 'a number of versions, "all", or { ms }', retention)
  }
  return given
}

/** Of two that mean the same, one. A condition that is a flag is none if it is false; elsewhere false may be a key. */
function checkOne (given, names, what) {
  const found = names.filter(name => given[name] !== undefined && (given[name] !== false || condition[name] !== FLAG))
  if (found.length > 1) throw make('INVALID_ARGUMENT', `${what} has one of ${names.join(', ')}, not ${found.join(' and ')}`)
  return found[0]
}

function isWhole (number) {
  return Number.isSafeInteger(number) && number >= 0
}

const CONDITIONS = Object.keys(condition)
const EXPIRIES = Object.keys(expiry)

/** What a write's options are in numbers, see `src/packed.rs`. */
function writeFlags (options, known = write, what = 'a write') {
  const flags = { bits: 0, expected: 0, expiry: 0 }
  if (options === undefined) return flags
  const given = check(options, known, what)
  setExpect(flags, expectOf(given, what))
  checkOne(given, EXPIRIES, what)
  if (given.expiresAt !== undefined) {
    const at = given.expiresAt instanceof Date ? given.expiresAt.getTime() : given.expiresAt
    if (!isWhole(at)) throw wrongType('expiresAt', 'a Date or milliseconds since 1970', given.expiresAt)
    flags.bits |= 2 << 3
    flags.expiry = at
  } else if (given.ttl === 'never') {
    flags.bits |= 1 << 3
  } else if (given.ttl !== undefined) {
    if (!isWhole(given.ttl)) throw wrongType('ttl', '"never" or a whole number of milliseconds', given.ttl)
    flags.bits |= 3 << 3
    flags.expiry = given.ttl
  }
  flags.bits |= (DURABILITIES[given.durability] || 0) << 5
  return flags
}

function expectOf (given, what) {
  switch (checkOne(given, CONDITIONS, what)) {
    case 'expect': return given.expect
    case 'ifVersion': return { version: given.ifVersion }
    case 'ifSequence': return { sequence: given.ifSequence }
    case 'ifNoExists': return 'absent'
    case 'ifExists': return 'present'
    default: return undefined
  }
}

function setExpect (flags, expect) {
  if (expect === undefined) return
  if (expect === 'absent') flags.bits |= 1
  else if (expect === 'present') flags.bits |= 2
  else {
    // The result of a write has both; its sequence is never used again.
    const name = expect !== null && typeof expect === 'object' && expect.sequence !== undefined ? 'sequence' : 'version'
    const number = expect !== null && typeof expect === 'object' ? expect[name] : undefined
    if (!isWhole(number)) {
      throw wrongType('expect', '"absent", "present", { version }, { sequence } or what a write has returned', expect)
    }
    flags.bits |= name === 'sequence' ? 4 : 3
    flags.expected = number
  }
}

/** A condition alone. */
function expectFlags (expect) {
  const flags = { bits: 0, expected: 0, expiry: 0 }
  if (expect === undefined) throw wrongType('expect', '"absent", "present", { version }, { sequence } or what a write has returned', expect)
  setExpect(flags, expect)
  return flags
}

/** As the native part knows them: 0 is the default one. */
const DURABILITIES = { buffered: 1, sync: 2 }

function durabilityCode (options, what) {
  return DURABILITIES[check(options, durability, what).durability] || 0
}

module.exports = {
  check, checkTable, checkOne, isWhole, database, scan, part, list, watch, care, readStream, writeStream, condition, write, remove, batched, writeFlags, expectFlags, durabilityCode
}
