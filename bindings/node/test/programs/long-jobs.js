'use strict'
// Writes and closes while ten jobs do not come to an end. usage: node long-jobs.js FOLDER

const fs = require('node:fs')
const path = require('node:path')
const { execFileSync } = require('node:child_process')
const atomkv = require('atomkv')

const folder = process.argv[2]

async function all () {
  const database = atomkv.open(path.join(folder, 'own'))
  for (let number = 0; number < 10; number++) {
    const place = path.join(folder, `long${number}`)
    fs.mkdirSync(place)
    // Whoever reads it waits for somebody who writes into it.
    execFileSync('mkfifo', [path.join(place, 'MANIFEST')])
    atomkv.verify(place).catch(() => {})
  }
  await database.table('t').promises.put('k', 'v', { durability: 'sync' })
  fs.writeSync(1, 'written')
  await database.close()
  fs.writeSync(1, ', closed\n')
  process.exit()
}
all()
