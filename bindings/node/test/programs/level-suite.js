'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('tape')
const suite = require('abstract-level/test')
const { AtomLevel } = require('atomkv/level')

// The suite opens a thousand databases, each of which a disk would be asked to sync: in memory where there is such a folder.
const base = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir()
const folder = fs.mkdtempSync(path.join(base, 'atomkv-level-'))
let count = 0
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))

suite({
  test,
  factory: options => new AtomLevel(path.join(folder, String(count++)), options)
})
