'use strict'
// Writes and tells what was acknowledged until it is killed, or ends as it is told to.

const fs = require('node:fs')
const { open } = require('atomkv')

const [place, how] = process.argv.slice(2)
const database = open(place)
const table = database.table('t')
const tell = text => fs.writeSync(1, text + '\n')

if (how === 'sync') {
  for (let index = 0; ; index++) {
    table.put(`k${index}`, `v${index}`)
    tell(index)
  }
} else if (how === 'queued') {
  (async () => {
    for (let index = 0; ; index += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, more) => table.promises.put(`k${index + more}`, `v${index + more}`)))
      tell(index + 99)
    }
  })()
} else {
  // Ends with everything open and writes under way.
  const scan = table.scan()[Symbol.iterator]()
  table.put('k0', 'v0')
  scan.next()
  database.snapshot()
  const watch = how === 'exit' ? database.watch() : undefined
  if (watch) watch.next()
  const compacting = database.compact()
  for (let index = 0; index < 1000; index++) table.promises.put(`q${index}`, 'x')
  if (how === 'exit') setTimeout(() => process.exit(7), 20)
  else compacting.then(() => tell('done'))
}
