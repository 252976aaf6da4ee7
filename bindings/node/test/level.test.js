'use strict'
// abstract-level's own suite on the facade, in a process of its own, and what only the facade has.

const test = require('node:test')
const assert = require('node:assert')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { fresh } = require('./common')

test("abstract-level's own test-suite", () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [path.join(__dirname, 'programs', 'level-suite.js')], { encoding: 'utf8', maxBuffer: 1 << 28 })
  const failures = stdout.split('\n').filter(line => line.startsWith('not ok'))
  assert.deepStrictEqual(failures, [])
  assert.strictEqual(status, 0, stderr)
  assert.ok(Number(/^# pass +(\d+)/m.exec(stdout)[1]) > 5000, 'the suite has run')
})

test('a Level database on a table of an open database', async t => {
  const { AtomLevel } = require('atomkv/level')
  const { database } = fresh(t)
  const level = new AtomLevel('db', { database, table: 'l', valueEncoding: 'json' })
  await level.put('a', { x: 1 })
  await level.batch().put('b', 2).put('c', 3).del('a').write()
  assert.deepStrictEqual(await level.iterator({ gte: 'b' }).all(), [['b', 2], ['c', 3]])
  const sub = level.sublevel('s', { valueEncoding: 'json' })
  await sub.put('', 'of the empty key')
  assert.strictEqual(await sub.get(''), 'of the empty key')
  await level.close()
  assert.strictEqual(database.isOpen, true)
})
