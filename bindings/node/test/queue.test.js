'use strict'
// Queued writes: their order, what waits for them, which of them are one commit, and whose error an error is.

const test = require('node:test')
const assert = require('node:assert')
const { atomkv, fresh, code } = require('./common')

/** Counts the turns of the loop until it is told to stop. */
function countTurns () {
  let turns = 0
  let goesOn = true
  const turn = () => {
    if (!goesOn) return
    turns++
    setImmediate(turn)
  }
  setImmediate(turn)
  return () => {
    goesOn = false
    return turns
  }
}

test('batches with promises are written between the queued writes of before and of behind', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { retention: 'all' })
  const order = []
  const waiting = [
    table.promises.put('k', '1'), table.promises.putMany([['k', '2']]), table.promises.batch([{ key: 'k', value: '3' }]),
    table.batch().put(table, 'k', '4').writeAsync(), table.promises.put('k', '5')
  ]
  assert.strictEqual(table.has('k'), false)
  await Promise.all(waiting.map((promise, index) => promise.then(() => order.push(index))))
  assert.deepStrictEqual(order, [0, 1, 2, 3, 4])
  assert.deepStrictEqual(table.history('k').map(({ value }) => String(value)), ['5', '4', '3', '2', '1'])
})

test('what is begun with promises is waited for by committed, flushed and close', async t => {
  const { database, place } = fresh(t, { background: false })
  const table = database.table('t')
  const many = name => Array.from({ length: 5000 }, (_, index) => [`${name}${index}`, 'x'.repeat(100)])
  table.promises.putMany(many('a'))
  await database.committed
  assert.strictEqual(table.length, 5000)
  table.promises.batch(many('b').map(([key, value]) => ({ key, value })))
  await database.flushed
  assert.deepStrictEqual([table.length, database.stats().unsynced_bytes], [10000, 0])

  const [first, second] = [database.begin(), database.begin()]
  for (const transaction of [first, second]) transaction.put(table, 'a0', String(transaction.get(table, 'a0').length))
  const commits = [first.commitAsync({ durability: 'sync' }), second.commitAsync({ durability: 'sync' })]
  const outcomes = Promise.allSettled(commits)
  await database.committed
  assert.strictEqual(String(table.get('a0')), '100')
  assert.deepStrictEqual((await outcomes).map(({ status }) => status).sort(), ['fulfilled', 'rejected'])

  table.promises.putMany(many('c'))
  table.batch().put(table, 'last', '1').writeAsync()
  await database.close()
  const again = atomkv.open(place)
  assert.deepStrictEqual([again.table('t').length, again.table('t').has('last')], [15001, true])
  await again.close()
})

test('a batch is free as soon as it is queued, and what is wrong with it rejects', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const batch = database.batch().put(table, 'a', '1')
  const written = batch.writeAsync()
  assert.strictEqual(batch.count, 0)
  const { sequence } = table.put('z', '1')
  const direct = batch.put(table, 'b', '2').write()
  assert.ok(direct > sequence && await written > direct)
  assert.deepStrictEqual(table.keys().toArray().sort(), ['a', 'b', 'z'])
  await assert.rejects(batch.put(table, 'c', '3').writeAsync({ durability: 'x' }), code('INVALID_ARGUMENT'))
  await assert.rejects(table.promises.putMany([['d', '4']], { ttl: 5 }), code('INVALID_ARGUMENT'))
  await assert.rejects(table.promises.putMany(null), code('INVALID_TYPE'))
  await assert.rejects(table.promises.batch(), code('INVALID_TYPE'))
  const large = database.batch()
  for (let index = 0; index < 10; index++) large.put(table, `large${index}`, 'x'.repeat(100000))
  const last = large.writeAsync()
  large.put(table, 'behind', '1')
  await Promise.all([last, large.writeAsync()])
  assert.strictEqual(table.length, 14)
  const late = database.batch().put(table, 'e', '5')
  await database.close()
  await assert.rejects(late.writeAsync(), code('CLOSED'))
  await assert.rejects(table.promises.putMany([['e', '5']]), code('CLOSED'))
})

test('a key that only the validator of its table refuses is the error of nobody else', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const old = database.table('old', { validator: 'key-space-v1-keys' })
  const results = await Promise.allSettled([
    table.promises.put('a key', '1'), old.promises.put('a key', '2'), old.promises.put('key', '3'), old.promises.put('a key', '4', { ttl: 60000 }),
    old.promises.delete('a key'), old.promises.put('', '5'), table.promises.put('b', '6')
  ])
  assert.deepStrictEqual(results.map(({ status, reason }) => status === 'fulfilled' || reason.code),
    [true, 'ATOMKV_INVALID_KEY', true, 'ATOMKV_INVALID_KEY', 'ATOMKV_INVALID_KEY', 'ATOMKV_KEY_EMPTY', true])
  assert.strictEqual(new Set([results[0].value, results[2].value, results[6].value]).size, 1)
  assert.deepStrictEqual([table.keys().toArray().sort(), old.keys().toArray()], [['a key', 'b'], ['key']])
})

test('only what may fail alone is a commit of its own', async t => {
  const { database } = fresh(t, { background: false })
  const table = database.table('t')
  const { promises } = table
  table.put('x', '0')
  const together = await Promise.all([
    promises.put('a', '1'), promises.put('b', '2', {}), promises.put('c', '3', { ttl: 60000 }), promises.put('d', '4', { ttl: 'never' }),
    promises.put('e', '5', { durability: 'buffered' }), promises.delete('x', {}), promises.put('f', '6', { ifExists: undefined })
  ])
  assert.strictEqual(new Set(together).size, 1)
  assert.ok(table.getEntry('c').expiresAt > Date.now())
  assert.strictEqual(table.getEntry('d').expiresAt, undefined)
  const apart = await Promise.all([
    promises.put('a', '1'), promises.put('b', '2', { ifExists: true }), promises.put('c', '3', { expiresAt: Date.now() + 60000 }), promises.delete('d', { ifExists: true }), promises.put('e', '5')
  ])
  assert.deepStrictEqual(apart, apart.map((_, index) => apart[0] + index))
  const alone = await Promise.allSettled([
    promises.put('a', '7'), promises.put('b', '7', { ttl: 0 }), promises.put('c', '7', { expiresAt: 1 }), promises.put('d', '7', { ifExists: true }), promises.put('e', '7', {})
  ])
  assert.deepStrictEqual(alone.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled'])

  const durable = database.table('s', { durability: 'sync' })
  const isSynced = async (...writes) => {
    await database.flushed
    await Promise.all(writes.map(write => write()))
    return database.stats().unsynced_bytes === 0
  }
  assert.strictEqual(await isSynced(() => promises.put('a', '8'), () => promises.put('b', '8', { durability: 'sync' })), true)
  assert.strictEqual(await isSynced(() => promises.put('a', '9'), () => durable.promises.put('k', '9', { durability: 'buffered' })), false)
  assert.strictEqual(await isSynced(() => promises.put('a', '10'), () => durable.promises.put('k', '10', {})), true)
})

test('many commits of their own take little memory and leave others their turn', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const before = process.memoryUsage().arrayBuffers
  const told = []
  const waiting = []
  for (let number = 0; number < 2000; number++) {
    const written = number % 2 === 0 ? table.promises.put('k', String(number), { expect: number === 0 ? 'absent' : 'present' }) : table.promises.putMany([['k', String(number)]])
    waiting.push(written.then(() => told.push(number)))
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 << 20)
  const turns = countTurns()
  await database.committed
  assert.ok(turns() >= 20)
  assert.strictEqual(String(table.get('k')), '1999')
  await Promise.all(waiting)
  assert.deepStrictEqual(told, Array.from({ length: 2000 }, (_, number) => number))
})
