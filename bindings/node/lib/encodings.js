'use strict'
// How keys and values become bytes. A key encoding writes into a buffer and says how many bytes; a value encoding gives
// bytes or a string. What cannot be written is an error, never something else in the database.

const { isUint8Array } = require('node:util').types
const { make, wrongType } = require('./errors')

const KEY_BYTES_MAX = 65535
const VALUE_BYTES_MAX = 2 ** 31 - 1

function tooLong (length) {
  return make('KEY_TOO_LONG', `the key has ${length} bytes; keys have 1 to ${KEY_BYTES_MAX} bytes`, { length, limit: KEY_BYTES_MAX })
}

const isWellFormed = typeof String.prototype.isWellFormed === 'function'
  ? text => text.isWellFormed()
  : text => !/\p{Surrogate}/u.test(text)

function checkText (text, what) {
  if (!isWellFormed(text)) {
    throw make('ENCODING', `${what} holds a lone surrogate, which no UTF-8 can hold; use a Buffer for arbitrary bytes`)
  }
}

function writeText (buffer, offset, text) {
  const length = text.length
  if (length < 48) {
    let index = 0
    for (; index < length; index++) {
      const unit = text.charCodeAt(index)
      if (unit > 127) break
      buffer[offset + index] = unit
    }
    if (index === length) return length
  }
  checkText(text, 'the key')
  if (length * 3 > KEY_BYTES_MAX) {
    const bytes = Buffer.byteLength(text)
    if (bytes > KEY_BYTES_MAX) throw tooLong(bytes)
  }
  return buffer.utf8Write(text, offset, KEY_BYTES_MAX)
}

const REPLACEMENT = '\ufffd'

/** What stands for bytes that are no UTF-8 would be another key or value. */
function readText (buffer, start, end, what, otherwise) {
  const text = buffer.utf8Slice(start, end)
  if (text.includes(REPLACEMENT) && Buffer.compare(Buffer.from(text), buffer.subarray(start, end)) !== 0) {
    throw make('ENCODING', `${what} is no UTF-8; ${otherwise}`)
  }
  return text
}

const at = Uint8Array.prototype.at

/** Whether the bytes are gone: the ArrayBuffer was transferred, or made smaller than the view. */
function isDetached (view) {
  try {
    at.call(view, 0)
    return false
  } catch {
    return true
  }
}

/** The same bytes as a Uint8Array. */
function checkBytes (value, what) {
  // Those of another realm (`node:vm`, test runners) are bytes too.
  if (!(value instanceof Uint8Array) && !isUint8Array(value)) throw wrongType(what, 'a Buffer or a Uint8Array', value)
  if (value.length === 0 && isDetached(value)) {
    throw make('INVALID_TYPE', `${what} lies in an ArrayBuffer that was detached (transferred to another thread) or made too small`)
  }
  return value
}

function writeBytes (buffer, offset, key) {
  checkBytes(key, 'a key')
  if (key.length > KEY_BYTES_MAX) throw tooLong(key.length)
  buffer.set(key, offset)
  return key.length
}

const float = new Float64Array(1)
const floatBytes = new Uint8Array(float.buffer)

function writeNumber (buffer, offset, key) {
  if (typeof key !== 'number' || Number.isNaN(key)) {
    if (typeof key === 'number') throw make('ENCODING', 'NaN has no place in an order and is no key')
    throw wrongType('a key', 'a number', key)
  }
  // Big-endian; the sign bit turned round, and all bits of what is negative: so bytes sort as numbers do.
  float[0] = key + 0
  const flip = floatBytes[7] & 128 ? 255 : 0
  for (let index = 0; index < 8; index++) buffer[offset + index] = floatBytes[7 - index] ^ flip
  if (flip === 0) buffer[offset] ^= 128
  return 8
}

function readNumber (buffer, start, end) {
  if (end - start !== 8) throw make('ENCODING', 'the key was not written by the encoding "number"')
  const flip = buffer[start] & 128 ? 0 : 255
  for (let index = 0; index < 8; index++) floatBytes[7 - index] = buffer[start + index] ^ flip
  if (flip === 0) floatBytes[7] ^= 128
  return float[0]
}

// Parts of a tuple begin with a byte that says what they are, in the order in which kinds sort: null, false, true, numbers,
// strings, bytes, tuples. Text and bytes end with a 0; a 0 in them is written as 0 255. A tuple ends with a 0.
const END = 0
const NULL = 5
const FALSE = 16
const TRUE = 17
const NUMBER = 32
const TEXT = 48
const BYTES = 64
const TUPLE = 80
const DEPTH_MAX = 32
/** Behind the bytes of a whole list without its end: what comes is the rest of a longer text, and no further part. */
const LIST_GOES_ON = 255

function writePart (buffer, offset, part, depth) {
  const room = needed => {
    if (offset + needed > buffer.length) throw tooLong(offset + needed)
  }
  room(16)
  if (part === null) {
    buffer[offset] = NULL
    return offset + 1
  }
  if (typeof part === 'boolean') {
    buffer[offset] = part ? TRUE : FALSE
    return offset + 1
  }
  if (typeof part === 'number') {
    buffer[offset] = NUMBER
    return offset + 1 + writeNumber(buffer, offset + 1, part === 0 ? 0 : part)
  }
  if (typeof part === 'string' || isUint8Array(part)) {
    const isText = typeof part === 'string'
    if (isText) checkText(part, 'the key')
    const bytes = isText ? Buffer.from(part) : checkBytes(part, 'a part of a key')
    room(bytes.length + 2)
    buffer[offset++] = isText ? TEXT : BYTES
    for (const byte of bytes) {
      room(3)
      buffer[offset++] = byte
      if (byte === 0) buffer[offset++] = 255
    }
    buffer[offset] = END
    return offset + 1
  }
  if (Array.isArray(part)) {
    if (depth > DEPTH_MAX) throw make('ENCODING', `keys nest no deeper than ${DEPTH_MAX} tuples`)
    buffer[offset++] = TUPLE
    for (const inner of part) offset = writePart(buffer, offset, inner, depth + 1)
    if (offset >= buffer.length) throw tooLong(offset)
    buffer[offset] = END
    return offset + 1
  }
  throw wrongType('a key', 'null, a boolean, a number, a string, bytes, or a list of them', part)
}

// A part is refused where 16 bytes have no room: the longest key needs more than its own bytes.
const SCRATCH_BYTES = KEY_BYTES_MAX + 32
let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

function writeOrdered (buffer, offset, key) {
  // An element may be a getter that calls the database: whoever comes meanwhile has a buffer of its own.
  const own = scratch || Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  scratch = undefined
  try {
    const length = writePart(own, 0, key, 0)
    if (length > KEY_BYTES_MAX) throw tooLong(length)
    buffer.set(own.subarray(0, length), offset)
    return length
  } finally {
    scratch = own
  }
}

function readOrdered (buffer, start, end) {
  let at = start
  const damaged = () => make('ENCODING', 'the key was not written by the encoding "ordered"')
  const read = depth => {
    const kind = at < end ? buffer[at++] : -1
    switch (kind) {
      case NULL: return null
      case FALSE: return false
      case TRUE: return true
      case NUMBER:
        at += 8
        if (at > end) throw damaged()
        return readNumber(buffer, at - 8, at)
      case TEXT:
      case BYTES: {
        const bytes = []
        for (;;) {
          if (at >= end) throw damaged()
          const byte = buffer[at++]
          if (byte === 0) {
            if (at >= end || buffer[at] !== 255) break
            at++
          }
          bytes.push(byte)
        }
        const part = Buffer.from(bytes)
        return kind === TEXT ? readText(part, 0, part.length, 'a string of the key', 'open the table with the keyEncoding "binary"') : part
      }
      case TUPLE: {
        if (depth > DEPTH_MAX) throw damaged()
        const parts = []
        while (at < end && buffer[at] !== END) parts.push(read(depth + 1))
        if (at++ >= end) throw damaged()
        return parts
      }
      default: throw damaged()
    }
  }
  const key = read(0)
  if (at !== end) throw damaged()
  return key
}

function copy (buffer, start, end) {
  return Buffer.from(buffer.subarray(start, end))
}

const keys = {
  utf8: {
    name: 'utf8',
    write (buffer, offset, key) {
      if (typeof key !== 'string') throw wrongType('a key of this table', 'a string', key)
      return writeText(buffer, offset, key)
    },
    read: (buffer, start, end) => readText(buffer, start, end, 'the key', 'open the table with the keyEncoding "binary"')
  },
  binary: {
    name: 'binary',
    write: (buffer, offset, key) => typeof key === 'string' ? writeText(buffer, offset, key) : writeBytes(buffer, offset, key),
    read: copy
  },
  number: { name: 'number', write: (buffer, offset, key) => writeNumber(buffer, offset, key === 0 ? 0 : key), read: readNumber },
  ordered: {
    name: 'ordered',
    write: writeOrdered,
    read: readOrdered,
    // What all tuples that begin so, or all strings that begin so, have in common. Of tuples it is not all: LIST_GOES_ON.
    prefix (buffer, offset, key) {
      const length = writeOrdered(buffer, offset, key)
      return Array.isArray(key) || typeof key === 'string' || isUint8Array(key) ? length - 1 : length
    }
  }
}

/** A value's bytes, or a string that stands for its UTF-8. */
const values = {
  binary: {
    name: 'binary',
    isView: true,
    encode (value) {
      if (typeof value === 'string') {
        checkText(value, 'the value')
        return value
      }
      return checkBytes(value, 'a value')
    },
    read: (buffer, start, end) => buffer.subarray(start, end)
  },
  utf8: {
    name: 'utf8',
    isView: false,
    encode (value) {
      if (typeof value !== 'string') throw wrongType('a value of this table', 'a string', value)
      checkText(value, 'the value')
      return value
    },
    read: (buffer, start, end) => readText(buffer, start, end, 'the value', 'open the table with the valueEncoding "binary"')
  },
  json: {
    name: 'json',
    isView: false,
    encode (value) {
      let text
      try {
        text = JSON.stringify(value)
      } catch (error) {
        throw make('ENCODING', `the value cannot be written as JSON: ${error.message}`, undefined, { cause: error })
      }
      if (text === undefined) throw wrongType('a value', 'something that JSON can hold', value)
      return text
    },
    read (buffer, start, end) {
      const text = readText(buffer, start, end, 'the value', 'open the table with the valueEncoding "binary"')
      try {
        return JSON.parse(text)
      } catch (error) {
        throw make('ENCODING', `the stored value is no JSON: ${error.message}`, undefined, { cause: error })
      }
    }
  }
}

function keyEncoding (encoding) {
  const name = encoding === 'string' ? 'utf8' : encoding
  const found = typeof name === 'string' && Object.hasOwn(keys, name) && keys[name]
  if (!found) throw make('INVALID_ARGUMENT', `keyEncoding is one of utf8, binary, number, ordered, not ${String(encoding)}`)
  return found
}

/** A named encoding, or the user's own: `{ name, encode(value), decode(bytes) }`. */
function valueEncoding (encoding) {
  if (typeof encoding === 'string') {
    const found = Object.hasOwn(values, encoding === 'string' ? 'utf8' : encoding) && values[encoding === 'string' ? 'utf8' : encoding]
    if (found) return found
  } else if (encoding && typeof encoding.name === 'string' && typeof encoding.encode === 'function' && typeof encoding.decode === 'function') {
    const { name } = encoding
    if (Object.hasOwn(values, name)) throw make('INVALID_ARGUMENT', `an encoding of your own needs a name of its own, not "${name}"`)
    return {
      name,
      own: encoding,
      isView: true,
      encode (value) {
        const bytes = encoding.encode(value)
        if (typeof bytes === 'string') checkText(bytes, `what the encoding "${name}" returns`)
        else checkBytes(bytes, `what the encoding "${name}" returns`)
        return bytes
      },
      read: (buffer, start, end) => encoding.decode(buffer.subarray(start, end))
    }
  }
  throw make('INVALID_ARGUMENT', 'valueEncoding is one of binary, utf8, json, or an object with name, encode and decode')
}

module.exports = { keyEncoding, valueEncoding, checkBytes, checkText, KEY_BYTES_MAX, VALUE_BYTES_MAX, LIST_GOES_ON }
