'use strict'
// What JavaScript and the native part share in this thread: the buffers, and the jobs that run.

const { markAsUntransferable } = require('node:worker_threads')
const native = require('./native')
const { KEY_BYTES_MAX } = require('./encodings')
const { fromNative, make, wrongType } = require('./errors')

/** Values up to this size come back in the pool. */
const POOLED_BYTES_MAX = 4096
const POOL_BYTES = 64 * 1024
/** Values up to this size go in through the input buffer. */
const INPUT_VALUE_BYTES_MAX = 64 * 1024

const input = Buffer.allocUnsafeSlow(KEY_BYTES_MAX + 1 + INPUT_VALUE_BYTES_MAX)
const numbers = new Float64Array(8)
const jobs = new Map()

const core = {
  native,
  input,
  numbers,
  pool: Buffer.alloc(0),
  /** Where the next value goes. */
  poolAt: 0,
  POOLED_BYTES_MAX,
  INPUT_VALUE_BYTES_MAX,

  newPool () {
    core.pool = Buffer.allocUnsafeSlow(POOL_BYTES)
    // A value is a view of the pool; sending one to another thread must not take the others away.
    markAsUntransferable(core.pool.buffer)
    core.poolAt = 0
    native.setPool(core.pool)
  },

  /** Runs an operation at once. */
  run (name, handle, options, first, second) {
    return native.run(name, handle, options === undefined ? undefined : JSON.stringify(options), first, second)
  },

  /** Runs an operation on a thread. */
  start (name, handle, options, first, second, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrongType('signal', 'an AbortSignal', signal)
      if (onProgress !== undefined && typeof onProgress !== 'function') throw wrongType('onProgress', 'a function', onProgress)
      if (signal && signal.aborted) throw aborted(signal)
      const id = native.start(name, handle, options === undefined ? undefined : JSON.stringify(options), first, second)
      const job = { resolve, reject, signal, failure: undefined, timer: undefined, abort: undefined }
      if (signal) {
        job.abort = () => {
          job.failure = aborted(signal)
          native.cancel(id)
        }
        signal.addEventListener('abort', job.abort, { once: true })
      }
      if (onProgress) {
        job.timer = setInterval(() => tell(id, job, onProgress), 50)
        job.timer.unref()
      }
      jobs.set(id, job)
    })
  }
}

function aborted (signal) {
  return make('ABORTED', 'the call was aborted', undefined, { cause: signal.reason })
}

function tell (id, job, onProgress) {
  native.progress(id)
  const [bytes, bytesTotal, records, elapsedMs] = numbers
  try {
    onProgress({ bytes, bytesTotal, records, elapsedMs })
  } catch (error) {
    job.failure = error
    native.cancel(id)
    clearInterval(job.timer)
  }
}

function onJob (id, error, result) {
  const job = jobs.get(id)
  // One that could not be begun has failed already.
  if (job === undefined) return
  jobs.delete(id)
  if (job.timer) clearInterval(job.timer)
  if (job.abort) job.signal.removeEventListener('abort', job.abort)
  if (error === undefined) job.resolve(result)
  else job.reject(job.failure !== undefined ? job.failure : error)
}

native.attach(input, numbers, fromNative, onJob)
core.newPool()

/** Gives up native things whose objects nobody holds any more. */
core.registry = new FinalizationRegistry(held => {
  for (const handle of Array.isArray(held) ? held : [held]) native.release(handle)
})

module.exports = core
