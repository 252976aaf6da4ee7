'use strict'
// Only workers load the binding here; they end by themselves, or are terminated while jobs run.

const { Worker } = require('node:worker_threads')
const { once } = require('node:events')

const source = `
  const { workerData, parentPort } = require('node:worker_threads')
  const database = require('atomkv').open(workerData.place)
  const table = database.table('t')
  table.putMany(Array.from({ length: 2000 }, (_, index) => ['k' + index, 'x'.repeat(500)]))
  database.compact().catch(() => {})
  database.verify().catch(() => {})
  table.watch().next().catch(() => {})
  if (workerData.isTerminated) parentPort.postMessage('ready')
  else database.close().then(() => parentPort.postMessage('ready'))
`
;(async () => {
  for (let round = 0; round < 12; round++) {
    const isTerminated = round % 2 === 0
    const worker = new Worker(source, { eval: true, workerData: { place: process.argv[2], isTerminated } })
    worker.on('error', error => { throw error })
    const exit = once(worker, 'exit')
    await once(worker, 'message')
    if (isTerminated) worker.terminate()
    await exit
  }
  console.log('done')
})()
