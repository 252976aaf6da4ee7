'use strict'
// Watches: where another one goes on, whose encodings they decode with, and that others have their turn.

const test = require('node:test')
const assert = require('node:assert')
const { fresh } = require('./common')

const key = number => `k${String(number).padStart(5, '0')}`

test('a watch that is left amid the state begins anew', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'utf8' })
  for (const name of ['a', 'b']) table.put(name, '1')
  const watch = table.watch({ stateFirst: true })
  const left = table.watch({ stateFirst: true })
  const { sequence } = table.put('c', '2')
  assert.strictEqual((await watch.next()).value.kind, 'state')
  assert.strictEqual(watch.resumeFrom, 0)
  assert.strictEqual((await watch.next()).value.kind, 'state')
  assert.strictEqual(watch.resumeFrom, sequence)
  assert.strictEqual((await watch.next()).value.key, 'c')
  assert.strictEqual(watch.resumeFrom, sequence + 1)
  await left.next()
  left.close()
  assert.strictEqual(left.resumeFrom, 0)
  watch.close()
})

test('others have their turn while a watch catches up', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.putMany(Array.from({ length: 20000 }, (_, number) => [key(number), 'x']))
  const controller = new AbortController()
  let turns = 0
  const turn = () => {
    if (++turns < 20) setImmediate(turn)
    else controller.abort()
  }
  setImmediate(turn)
  let seen = 0
  await assert.rejects(async () => { for await (const _ of table.watch({ stateFirst: true, signal: controller.signal })) seen++ }, { name: 'AbortError' }) // eslint-disable-line no-unused-vars
  assert.ok(seen > 0 && seen < 20000)
})

test('what is taken while a call of next lets others have their turn is not handed over twice', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const from = table.put(key(0), 'x').sequence
  for (let number = 1; number < 600; number++) table.put(key(number), 'x')
  const watch = table.watch({ from })
  const waiting = watch.next()
  for (let count = 0; count < 5; count++) await null
  const changes = watch.take()
  assert.ok(changes.length > 0)
  changes.push((await waiting).value)
  for (let taken = watch.take(); taken.length > 0; taken = watch.take()) changes.push(...taken)
  assert.deepStrictEqual(changes.map(change => change.key), Array.from({ length: 600 }, (_, number) => key(number)))
  const closed = table.watch({ from })
  const last = closed.next()
  for (let count = 0; count < 5; count++) await null
  closed.close()
  assert.deepStrictEqual(await last, { done: true, value: undefined })
  assert.strictEqual(closed.resumeFrom, from)
  watch.close()
})

test('a watch of a table decodes as that table does, whoever opens it otherwise', async t => {
  const { database } = fresh(t)
  const plain = database.table('t')
  const watches = [plain.watch(), database.watch({ tables: [plain] })]
  const named = database.table('t', { valueEncoding: 'json' })
  watches.push(named.watch(), database.watch())
  named.put('a', { n: 1 })
  const values = []
  for (const watch of watches) {
    values.push((await watch.next()).value.value)
    watch.close()
  }
  assert.deepStrictEqual(values, [Buffer.from('{"n":1}'), Buffer.from('{"n":1}'), { n: 1 }, { n: 1 }])
})
