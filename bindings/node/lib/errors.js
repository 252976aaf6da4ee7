'use strict'

/** Every error of the database. `code` is stable: `ATOMKV_` and a name. */
class AtomKVError extends Error {
  constructor (code, message, details, options) {
    super(message, options)
    this.code = `ATOMKV_${code}`
    if (details) Object.assign(this, details)
  }

  get name () { return this.constructor.name }
}

class ConflictError extends AtomKVError {}
class LockedError extends AtomKVError {}
class CorruptError extends AtomKVError {}
class ClosedError extends AtomKVError {}
class ReadOnlyError extends AtomKVError {}
class NoSpaceError extends AtomKVError {}
class CompactedError extends AtomKVError {}
class InvalidArgumentError extends AtomKVError {}
class MismatchError extends AtomKVError {}
class EncodingError extends AtomKVError {}
class AbortError extends AtomKVError {
  get name () { return 'AbortError' }
}

const classes = {
  CONFLICT: ConflictError,
  LOCKED: LockedError,
  CORRUPT: CorruptError,
  CLOSED: ClosedError,
  READ_ONLY: ReadOnlyError,
  NO_SPACE: NoSpaceError,
  COMPACTED: CompactedError,
  VERSION_COMPACTED: CompactedError,
  INVALID_ARGUMENT: InvalidArgumentError,
  KEY_EMPTY: InvalidArgumentError,
  KEY_TOO_LONG: InvalidArgumentError,
  VALUE_TOO_LARGE: InvalidArgumentError,
  INVALID_KEY: InvalidArgumentError,
  INVALID_TYPE: InvalidArgumentError,
  TABLE_MISMATCH: MismatchError,
  SERVICES_MISMATCH: MismatchError,
  ENCODING: EncodingError,
  ABORTED: AbortError,
  CANCELLED: AbortError
}

function make (code, message, details, options) {
  return new (classes[code] || AtomKVError)(code, message, details, options)
}

/** What the native part says went wrong. */
function fromNative (json) {
  const { code, message, keyBytes, ...details } = JSON.parse(json)
  if (keyBytes) details.key = Buffer.from(keyBytes)
  return make(code, message, details)
}

function describe (value) {
  if (value === null) return 'null'
  if (typeof value === 'object') return `an object of class ${value.constructor ? value.constructor.name : 'null'}`
  return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`
}

/** A value of a wrong type: what must be what, and what was given. */
function wrongType (what, expected, given) {
  return make('INVALID_TYPE', `${what} must be ${expected}, not ${describe(given)}`)
}

module.exports = {
  AtomKVError,
  ConflictError,
  LockedError,
  CorruptError,
  ClosedError,
  ReadOnlyError,
  NoSpaceError,
  CompactedError,
  InvalidArgumentError,
  MismatchError,
  EncodingError,
  AbortError,
  make,
  fromNative,
  wrongType
}
