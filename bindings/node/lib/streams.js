'use strict'
// Documents of up to 1 TiB as streams of Node.

const { Readable, Writable } = require('node:stream')
const core = require('./core')
const { make, wrongType } = require('./errors')
const known = require('./options')
const { checkText } = require('./encodings')

const PART_BYTES = 256 * 1024

function release (stream) {
  if (!stream._atomkv) return
  core.registry.unregister(stream)
  core.native.release(stream._atomkv)
  stream._atomkv = 0
}

/** Keeps what was opened for a stream, unless it was destroyed before there was anything to release. */
function keep (stream, handle) {
  stream._atomkv = handle
  core.registry.register(stream, handle, stream)
  if (stream.destroyed) release(stream)
}

/** The text of a document by parts: a pair of surrogates may come in two. */
class Text {
  constructor () {
    this.half = ''
  }

  bytes (chunk, encoding) {
    if (typeof chunk !== 'string' || !/^utf-?8$/i.test(encoding)) {
      this.end()
      return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
    }
    const text = this.half + chunk
    const last = text.charCodeAt(text.length - 1)
    const end = last >= 0xd800 && last < 0xdc00 ? text.length - 1 : text.length
    const whole = text.slice(0, end)
    checkText(whole, 'the text')
    this.half = text.slice(end)
    return Buffer.from(whole)
  }

  /** Nothing comes behind that makes a half whole. */
  end () { checkText(this.half, 'the text') }
}

function checkSignal (signal) {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrongType('signal', 'an AbortSignal', signal)
}

/** The bytes of a value from `start` to before `end`, as they are now, or as a snapshot sees them. */
function readStream (table, key, options, view = 0) {
  const { start = 0, end, signal, highWaterMark = PART_BYTES } = known.check(options, known.readStream, 'a read stream')
  checkSignal(signal)
  const keyBytes = table._keyBytes(key)
  let at = start
  let last
  // Begun at once: a snapshot may be closed before the stream is asked for anything.
  const opening = core.start('readStream', view === 0 ? table._handle : view, { other: table._handle }, keyBytes)
  opening.catch(() => {})
  return new Readable({
    signal,
    highWaterMark,
    construct (callback) {
      opening.then(opened => {
        if (opened === null) throw make('NOT_FOUND', 'the key is not there')
        const { handle, length, version, sequence } = JSON.parse(opened[0])
        keep(this, handle)
        Object.assign(this, { size: length, version, sequence })
        last = Math.min(end === undefined ? length : end, length)
      }).then(() => callback(), callback)
    },
    read (size) {
      const length = Math.min(size || PART_BYTES, last - at, 4 << 20)
      if (length <= 0) {
        this.push(null)
        return
      }
      core.start('readAt', this._atomkv, { offset: at, length }).then(bytes => {
        at += bytes.length
        this.push(bytes.length === 0 ? null : bytes)
      }, error => this.destroy(error))
    },
    destroy (error, callback) {
      release(this)
      callback(error)
    }
  })
}

/** Writes a document; it is there, as a whole, when the stream has finished. `written` tells version and sequence. */
function writeStream (table, key, options) {
  const { signal, highWaterMark = PART_BYTES, ...given } = known.check(options, known.writeStream, 'a write stream')
  checkSignal(signal)
  const flags = { ...known.writeFlags(given) }
  const keyBytes = table._keyBytes(key)
  const text = new Text()
  return new Writable({
    signal,
    highWaterMark,
    decodeStrings: false,
    construct (callback) {
      core.start('writeStream', table._handle, undefined, keyBytes).then(opened => {
        keep(this, JSON.parse(opened[0]).handle)
      }).then(() => callback(), callback)
    },
    write (chunk, encoding, callback) {
      let bytes
      try {
        bytes = text.bytes(chunk, encoding)
      } catch (error) {
        callback(error)
        return
      }
      core.start('append', this._atomkv, undefined, bytes).then(() => callback(), callback)
    },
    final (callback) {
      try {
        text.end()
      } catch (error) {
        callback(error)
        return
      }
      core.start('finish', this._atomkv, flags).then(([json]) => {
        this.written = JSON.parse(json)
      }).then(() => callback(), callback)
    },
    destroy (error, callback) {
      // Without `finish` it leaves no trace.
      release(this)
      callback(error)
    }
  })
}

module.exports = { readStream, writeStream }
