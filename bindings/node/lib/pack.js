'use strict'
// Many operations in one buffer, as `src/packed.rs` reads them.

const { KEY_BYTES_MAX } = require('./encodings')

class Pack {
  constructor (bytes = 256 * 1024) {
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
    let size = this.buffer.length * 2
    while (size < needed) size *= 2
    const buffer = Buffer.allocUnsafeSlow(size)
    buffer.set(this.buffer.subarray(0, this.at))
    this._use(buffer)
  }

  /** Adds one; if a key or value is refused, it was never here. */
  add (kind, handle, keys, key, value, flags, expected, expiry) {
    const isText = typeof value === 'string'
    const valueMost = value === undefined ? 0 : isText ? value.length * 3 : value.length
    const needed = this.at + 48 + KEY_BYTES_MAX + valueMost
    if (needed > this.buffer.length) this._grow(needed)
    const { buffer, words } = this
    const word = this.at >> 2
    let start = this.at + 16
    if (flags !== 0) {
      this.doubles[start >> 3] = expected
      this.doubles[(start >> 3) + 1] = expiry
      start += 16
    }
    const keyLength = keys.write(buffer, start, key)
    let valueLength = 0
    if (value !== undefined) {
      if (isText) valueLength = buffer.utf8Write(value, start + keyLength)
      else {
        valueLength = value.length
        if (valueLength > 0) buffer.set(value, start + keyLength)
      }
    }
    words[word] = kind | flags << 8
    words[word + 1] = handle
    words[word + 2] = keyLength
    words[word + 3] = valueLength
    this.at = (start + keyLength + valueLength + 7) & ~7
    this.count++
  }

  /** What was added. */
  bytes () {
    return this.buffer.subarray(0, this.at)
  }
}

module.exports = { Pack, KEY: 0, PUT: 1, DELETE: 2, EXPECT: 3 }
