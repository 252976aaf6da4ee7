'use strict'

const { parentPort, workerData } = require('node:worker_threads')
const { open } = require('atomkv')

const database = open(workerData.place)
const table = database.table('t', { valueEncoding: 'json' })
if (workerData.forever) {
  const watch = database.watch()
  watch.next()
  parentPort.postMessage('ready')
  for (let index = 0; ; index++) table.put(`w${workerData.number}:${index % 1000}`, index)
}
for (let index = 0; index < 2000; index++) {
  table.put(`w${workerData.number}:${index}`, index)
  table.update('count', count => (count ?? 0) + 1)
}
database.close().then(() => parentPort.postMessage('done'))
