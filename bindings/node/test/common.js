'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const atomkv = require('atomkv')

/** A database in a fresh folder, closed and removed when the test ends. */
function fresh (t, options) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'atomkv-node-'))
  const place = path.join(folder, 'db')
  const database = atomkv.open(place, options)
  t.after(async () => {
    await database.close()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  return { database, folder, place }
}

/** A predicate for assert.throws. */
function code (name) {
  return error => error instanceof atomkv.AtomKVError && error.code === `ATOMKV_${name}` && error.message.length > 10
}

module.exports = { atomkv, fresh, code }
