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
const write = { expect: ANY, ifVersion: NUMBER, ifSequence: NUMBER, ifNoExists: FLAG, ifExists: FLAG, ttl: ANY, expiresAt: ANY, durability: TEXT }
const scan = {
  gt: ANY, gte: ANY, lt: ANY, lte: ANY, start: ANY, end: ANY, prefix: ANY, reverse: FLAG, limit: NUMBER, keysOnly: FLAG,
  contains: ANY, glob: ANY, after: ANY, paged: FLAG, versions: FLAG
}
const watch = { table: ANY, tables: ANY, prefix: ANY, from: NUMBER, stateFirst: FLAG, signal: ANY }
const care = { signal: ANY, onProgress: ANY, link: FLAG, verify: FLAG, threads: NUMBER, damagesMax: NUMBER }

function check (options, known, what) {
  if (options === undefined) return {}
  if (options === null || typeof options !== 'object') throw wrongType(`the options of ${what}`, 'an object', options)
  const result = {}
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

/** What a write's options are in numbers, see `src/packed.rs`. */
const flags = { bits: 0, expected: 0, expiry: 0 }

function writeFlags (options) {
  flags.bits = flags.expected = flags.expiry = 0
  if (options === undefined) return flags
  const given = check(options, write, 'a write')
  let { expect } = given
  if (given.ifVersion !== undefined) expect = { version: given.ifVersion }
  if (given.ifSequence !== undefined) expect = { sequence: given.ifSequence }
  if (given.ifNoExists) expect = 'absent'
  if (given.ifExists) expect = 'present'
  if (expect === 'absent') flags.bits |= 1
  else if (expect === 'present') flags.bits |= 2
  else if (expect !== undefined) {
    if (expect === null || typeof expect !== 'object') {
      throw wrongType('expect', '"absent", "present", { version }, { sequence } or what a write has returned', expect)
    }
    // The result of a write has both; its sequence is never used again.
    const name = expect.sequence !== undefined ? 'sequence' : 'version'
    if (!Number.isSafeInteger(expect[name]) || expect[name] < 0) throw wrongType(name, NUMBER, expect[name])
    flags.bits |= name === 'sequence' ? 4 : 3
    flags.expected = expect[name]
  }
  if (given.expiresAt !== undefined) {
    const at = given.expiresAt instanceof Date ? given.expiresAt.getTime() : given.expiresAt
    if (!Number.isSafeInteger(at) || at < 0) throw wrongType('expiresAt', 'a Date or milliseconds since 1970', given.expiresAt)
    flags.bits |= 2 << 3
    flags.expiry = at
  } else if (given.ttl === 'never') {
    flags.bits |= 1 << 3
  } else if (given.ttl !== undefined) {
    if (!Number.isSafeInteger(given.ttl) || given.ttl < 0) throw wrongType('ttl', '"never" or a whole number of milliseconds', given.ttl)
    flags.bits |= 3 << 3
    flags.expiry = given.ttl
  }
  if (given.durability === 'sync') flags.bits |= 2 << 5
  else if (given.durability === 'buffered') flags.bits |= 1 << 5
  return flags
}

function durabilityCode (options, known, what) {
  return check(options, known, what).durability === 'sync' ? 2 : 0
}

module.exports = { check, database, table, scan, watch, care, writeFlags, durabilityCode }
