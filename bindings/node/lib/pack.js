'use strict'
// Many operations in one buffer, as `src/packed.rs` reads them.

const { constants } = require('node:buffer')
const { checkBytes, KEY_BYTES_MAX, VALUE_BYTES_MAX } = require('./encodings')
const { make } = require('./errors')

/** Of a pack that is to be filled. */
const PACK_BYTES = 256 * 1024

class Pack {
  constructor (bytes = PACK_BYTES) {
    this.at = 0
    this.count = 0
    this._use(Buffer.allocUnsafeSlow(bytes))
  }

  _use (buffer) {
    this.buffer = buffer
    this.words = new Int32Array(buffer.buffer)
    this.doubles = new Float64Array(buffer.buffer)
  }

  clear () {
    this.at = 0
    this.count = 0
  }

  _grow (needed) {
    const most = constants.MAX_LENGTH
    if (needed > most) throw make('INVALID_ARGUMENT', `what is written or asked for at once has more than ${most} bytes; do it in parts`)
    let size = this.buffer.length * 2
    while (size < needed) size *= 2
    const buffer = Buffer.allocUnsafeSlow(Math.min(size, most))
    buffer.set(this.buffer.subarray(0, this.at))
    this._use(buffer)
  }

  /** Adds one; if a key or value is refused, it was never here. A key that is a list must not reach this pack by its getters. */
  add (kind, handle, keys, key, value, flags, expected, expiry) {
    const isText = typeof value === 'string'
    const valueMost = value === undefined ? 0 : isText ? value.length * 3 : value.length
    if (!isText && valueMost > VALUE_BYTES_MAX) {
      const details = { length: valueMost, limit: VALUE_BYTES_MAX }
      throw make('VALUE_TOO_LARGE', `the value has ${valueMost} bytes; values have at most ${VALUE_BYTES_MAX}, longer ones are written as streams`, details)
    }
    const needed = this.at + 48 + KEY_BYTES_MAX + valueMost
    if (needed > this.buffer.length) this._grow(needed)
    const { buffer, words } = this
    const word = this.at / 4
    let start = this.at + 16
    if (flags !== 0) {
      this.doubles[start / 8] = expected
      this.doubles[start / 8 + 1] = expiry
      start += 16
    }
    const keyLength = keys.write(buffer, start, key)
    // Refused here, where it is one operation's error and not that of all which share a commit with it.
    if (keyLength === 0) throw make('KEY_EMPTY', `the key is empty; keys have 1 to ${KEY_BYTES_MAX} bytes`)
    let valueLength = 0
    if (value !== undefined) {
      if (isText) valueLength = buffer.utf8Write(value, start + keyLength)
      else {
        valueLength = value.length
        if (valueLength > 0) buffer.set(value, start + keyLength)
        // Getters of options and keys have run since it was encoded.
        else checkBytes(value, 'a value')
      }
    }
    words[word] = kind | flags << 8
    words[word + 1] = handle
    words[word + 2] = keyLength
    words[word + 3] = valueLength
    const end = start + keyLength + valueLength
    // Packs may be larger than what bitwise operators hold.
    this.at = end + (-end & 7)
    this.count++
  }

  /** What was added. */
  bytes () {
    return this.buffer.subarray(0, this.at)
  }

  /** The same operations in a pack that is no larger than they are; this one is empty then. */
  take () {
    const pack = new Pack(this.at)
    pack.buffer.set(this.bytes())
    pack.at = this.at
    pack.count = this.count
    this.clear()
    return pack
  }
}

module.exports = { Pack, PACK_BYTES, KEY: 0, PUT: 1, DELETE: 2, EXPECT: 3 }
