'use strict'

const test = require('node:test')
const assert = require('node:assert')
const path = require('node:path')
const { once } = require('node:events')
const { finished, pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { atomkv, fresh, code } = require('./common')

test('values of all sizes come back as they were, and stay so', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const values = [0, 1, 100, 1023, 1024, 1025, 4095, 4096, 4097, 70000, 3 << 20].map((size, index) => Buffer.alloc(size, index + 1))
  values.forEach((value, index) => table.put(`k${index}`, value))
  const found = values.map((_, index) => table.get(`k${index}`))
  for (let round = 0; round < 2000; round++) table.get('k2')
  assert.deepStrictEqual(found, values)
  assert.deepStrictEqual(table.getMany(values.map((_, index) => `k${index}`).concat('none')), [...values, undefined])
  const target = Buffer.alloc(50)
  assert.strictEqual(table.getInto('k2', target), 100)
  assert.deepStrictEqual(target, values[2].subarray(0, 50))
  assert.strictEqual(table.getInto('none', target), -1)
  assert.deepStrictEqual([...table.scan()].map(({ value }) => value.length).sort((a, b) => a - b), values.map(value => value.length))
})

test('text keeps every character', t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'utf8' })
  for (const text of ['', 'a', 'é', '日本語', '😀'.repeat(30), 'x'.repeat(47), 'x'.repeat(48), 'ß'.repeat(40000)]) {
    if (text.length > 0 && text.length < 1000) {
      table.put(text, text)
      assert.strictEqual(table.get(text), text)
    }
    table.put('k', text)
    assert.strictEqual(table.get('k'), text)
  }
  assert.deepStrictEqual([...table.keys()].includes('日本語'), true)
})

test('ordered keys sort as their values do and come back', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, keyEncoding: 'ordered', valueEncoding: 'json' })
  const keys = [null, false, true, -Infinity, -1e9, -1.5, -1, 0, 1e-300, 1, 2, 10, Infinity, '', 'a', 'a\0', 'a\0b', 'ab', 'b', Buffer.from([0]), Buffer.from([255]),
    [], [null], ['a'], ['a', -1], ['a', 1], ['a', 1, ['x']], ['b']]
  for (const key of [...keys].reverse()) table.put(key, 1)
  assert.deepStrictEqual([...table.keys()], keys)
  assert.deepStrictEqual([...table.keys({ prefix: ['a'] })], [['a'], ['a', -1], ['a', 1], ['a', 1, ['x']]])
  assert.deepStrictEqual([...table.keys({ gt: 1, lt: 'a' })], [2, 10, Infinity, ''])
  assert.deepStrictEqual([...table.keys({ start: 10, end: 1, reverse: true })], [10, 2])
  const numbers = database.table('n', { ordered: true, keyEncoding: 'number' })
  const sorted = [-Infinity, -100, -0.5, 0, 0.25, 7, 1e300]
  for (const number of [...sorted].reverse()) numbers.put(number, 'x')
  assert.deepStrictEqual([...numbers.keys()], sorted)
  numbers.put(-0, 'zero')
  assert.strictEqual(numbers.get(0).toString(), 'zero')
})

test('encodings are kept with the table', async t => {
  const { database, place } = fresh(t)
  database.table('t', { keyEncoding: 'number', valueEncoding: 'json' }).put(1, { a: [1] })
  const own = { name: 'reversed', encode: value => Buffer.from(value).reverse(), decode: bytes => Buffer.from(bytes).reverse().toString() }
  database.table('own', { valueEncoding: own }).put('k', 'abc')
  assert.deepStrictEqual(database.tables(), ['own', 't'])
  await database.close()
  const again = atomkv.open(place)
  assert.deepStrictEqual(again.table('t').get(1), { a: [1] })
  assert.throws(() => again.table('t', { keyEncoding: 'utf8' }), code('TABLE_MISMATCH'))
  assert.throws(() => again.table('t', { valueEncoding: 'binary' }), code('TABLE_MISMATCH'))
  assert.throws(() => again.table('own'), code('TABLE_MISMATCH'))
  assert.strictEqual(again.table('own', { valueEncoding: own }).get('k'), 'abc')
  await again.close()
})

test('small and large groups of queued writes keep their order', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const told = []
  const waiting = []
  const put = (number, options) => waiting.push(table.promises.put('k', String(number), options).then(() => told.push(number)))
  // The first group goes to a thread, what comes behind it may be committed at once.
  for (let number = 0; number < 100; number++) put(number)
  for (let number = 100; number < 20100; number++) put(number, { ifExists: true })
  put(20100)
  await Promise.all(waiting)
  assert.deepStrictEqual(told, Array.from({ length: 20101 }, (_, number) => number))
  assert.strictEqual(table.get('k').toString(), '20100')
  // One that is synced, or may have to wait, is none for the loop.
  const synced = await table.promises.put('s', 'x', { durability: 'sync' })
  assert.strictEqual(table.getEntry('s').sequence, synced)
  assert.strictEqual(await table.promises.delete('none'), undefined)
})

test('writes of one turn are one commit', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const promises = [table.promises.put('a', '1'), table.promises.put('b', '2'), table.promises.delete('c')]
  assert.strictEqual(table.get('a'), undefined)
  const [first, second] = await Promise.all(promises)
  assert.ok(first > 0 && first === second)
  assert.strictEqual(table.getEntry('a').sequence, table.getEntry('b').sequence)
  await assert.rejects(table.promises.put('a', 'x', { ifVersion: 7 }), code('CONFLICT'))
  const order = []
  await Promise.all([table.promises.put('o', '1').then(() => order.push(1)), table.promises.put('o', '2', { ifVersion: 1 }).then(() => order.push(2)),
    table.promises.put('o', '3').then(() => order.push(3))])
  assert.deepStrictEqual([order, table.get('o').toString(), table.getEntry('o').version], [[1, 2, 3], '3', 3])
  const many = []
  for (let index = 0; index < 50000; index++) many.push(table.promises.put(`m${index}`, 'x'.repeat(300)))
  await Promise.all(many)
  assert.strictEqual([...table.keys({ glob: 'm*' })].length, 50000)
  await database.flushed
  assert.strictEqual(database.stats().unsynced_bytes, 0)
  assert.strictEqual((await table.promises.getEntry('o')).value.toString(), '3')
  assert.strictEqual(await table.promises.get('none'), undefined)
})

test('transactions see conflicts, are tried again, and end with what their function throws', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'json' })
  let attempts = 0
  const result = database.transaction(transaction => {
    const count = transaction.get(table, 'n') ?? 0
    if (attempts++ === 0) table.put('n', 10)
    transaction.put(table, 'n', count + 1)
    return count
  })
  assert.deepStrictEqual([attempts, result, table.get('n')], [2, 10, 11])
  assert.throws(() => database.transaction(transaction => {
    transaction.put(table, 'n', 0)
    throw new RangeError('mine')
  }), RangeError)
  assert.throws(() => database.transaction(async () => {}), code('INVALID_ARGUMENT'))
  await assert.rejects(database.transactionAsync(async () => { throw new RangeError('mine') }), RangeError)
  await Promise.all(Array.from({ length: 8 }, () => database.transactionAsync(async transaction => {
    const count = transaction.get(table, 'n')
    await null
    transaction.put(table, 'n', count + 1)
  }, { durability: 'sync' })))
  assert.strictEqual(table.get('n'), 19)
  assert.strictEqual(database.stats().snapshots, 0)
})

test('a transaction during which the database is closed has not succeeded', async t => {
  for (const close of [database => database.closeSync(), database => database.close()]) {
    const { database, place } = fresh(t)
    const table = database.table('t')
    const error = thrown => code('CLOSED')(thrown) && /nothing of it was written/.test(thrown.message)
    await assert.rejects(database.transactionAsync(async transaction => {
      transaction.put(table, 'k', 'v')
      await close(database)
      return 'done'
    }), error)
    const again = atomkv.open(place)
    const other = again.table('t')
    assert.strictEqual(other.has('k'), false)
    assert.throws(() => again.transaction(transaction => {
      transaction.put(other, 'k', 'v')
      again.closeSync()
      return 'done'
    }), error)
  }
  // One that its function has ended is none that was cut off.
  for (const end of ['commit', 'abort', 'close']) {
    const { database } = fresh(t)
    const f = transaction => {
      transaction.put(database.table('t'), 'k', 'v')
      transaction[end]()
      return end
    }
    assert.strictEqual(await database.transactionAsync(f), end)
    assert.strictEqual(database.transaction(transaction => {
      f(transaction)
      database.closeSync()
      return 'done'
    }), 'done')
  }
})

test('ranges are lazy, see one moment, and can be left', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, valueEncoding: 'utf8' })
  table.putMany(Array.from({ length: 5000 }, (_, index) => [`k${String(index).padStart(4, '0')}`, String(index)]))
  const seen = []
  for (const { key, value } of table.scan({ gte: 'k0010' })) {
    table.delete(key)
    seen.push(Number(value))
    if (seen.length === 3000) break
  }
  assert.deepStrictEqual(seen, Array.from({ length: 3000 }, (_, index) => index + 10))
  assert.strictEqual(table.length, 2000)
  assert.strictEqual(table.scan().count(), 2000)
  assert.deepStrictEqual(table.scan({ limit: 3 }).map(({ key }) => key).filter(key => key !== 'k0001').toArray(), ['k0000', 'k0002'])
  let count = 0
  for await (const item of table.scan({ versions: true })) count += item.version
  assert.strictEqual(count, 2000)
  assert.strictEqual(database.stats().snapshots, 0)
})

test('a watch tells changes as they come, and ends when it is told to', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'json' })
  const controller = new AbortController()
  const seen = []
  const watching = (async () => {
    for await (const { kind, key, value } of table.watch({ signal: controller.signal })) seen.push([kind, key, value])
  })()
  await new Promise(resolve => setTimeout(resolve, 20))
  table.put('a', { x: 1 })
  table.delete('a')
  while (seen.length < 2) await new Promise(resolve => setTimeout(resolve, 5))
  controller.abort()
  await assert.rejects(watching, error => error.name === 'AbortError' && error.code === 'ATOMKV_ABORTED')
  assert.deepStrictEqual(seen, [['put', 'a', { x: 1 }], ['delete', 'a', undefined]])
  const watch = table.watch()
  const waiting = watch.next()
  await new Promise(resolve => setTimeout(resolve, 10))
  await database.close()
  assert.deepStrictEqual(await waiting, { done: true, value: undefined })
})

test('documents are streamed in and out', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const part = Buffer.alloc(100000, 7)
  const out = table.createWriteStream('film', { ifNoExists: true })
  await pipeline(Readable.from(Array(50).fill(part)), out)
  assert.strictEqual(out.written.version, 1)
  let length = 0
  for await (const chunk of table.createReadStream('film')) length += chunk.length
  assert.strictEqual(length, 5000000)
  const controller = new AbortController()
  const cut = table.createWriteStream('cut', { signal: controller.signal })
  cut.write(part)
  controller.abort()
  await once(cut, 'error').catch(() => {})
  assert.strictEqual(table.has('cut'), false)
  await assert.rejects(async () => { for await (const _ of table.createReadStream('none')); }, code('NOT_FOUND')) // eslint-disable-line no-unused-vars
})

test('care tells how far it is, can be aborted, and gives reports', async t => {
  const { database, folder } = fresh(t)
  const table = database.table('t')
  table.putMany(Array.from({ length: 20000 }, (_, index) => [`k${index}`, 'x'.repeat(200)]))
  assert.deepStrictEqual(((report) => [report.from, report.to])(await table.resize(32)), [16, 32])
  const verified = await database.verify({ onProgress: progress => assert.ok(progress.bytes >= 0) })
  assert.deepStrictEqual([verified.isClean, verified.keys], [true, 20000])
  const backup = await database.backup(path.join(folder, 'backup'))
  assert.ok(backup.files > 0 && backup.sequence > 0)
  await atomkv.restore(path.join(folder, 'backup'), path.join(folder, 'copy'))
  const copy = atomkv.open(path.join(folder, 'copy'), { readOnly: true })
  assert.strictEqual(copy.table('t').length, 20000)
  assert.throws(() => copy.table('t').put('a', 'b'), code('READ_ONLY'))
  await copy.close()
  assert.strictEqual((await atomkv.verify(path.join(folder, 'copy'))).isClean, true)
  const aborted = AbortSignal.abort()
  await assert.rejects(database.compact({ signal: aborted }), { name: 'AbortError' })
  assert.ok('segmentsRemoved' in await database.compact())
  assert.strictEqual(table.stats().keys, 20000)
})

test('expiry, merges and updates', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'json' })
  table.put('k', 1, { ttl: 20 })
  table.put('d', 1, { expiresAt: new Date(Date.now() + 3600000) })
  assert.ok(table.getEntry('d').expiresAt > Date.now())
  await new Promise(resolve => setTimeout(resolve, 40))
  assert.strictEqual(table.get('k'), undefined)
  assert.strictEqual(table.merge('n', { addDecimal: 41n }).value, 41)
  assert.deepStrictEqual(table.merge('j', { jsonMergePatch: { a: 1 } }).value, { a: 1 })
  table.update('u', value => (value ?? 0) + 5)
  table.update('u', value => value * 2)
  assert.strictEqual(table.get('u'), 10)
  table.update('u', () => undefined)
  assert.strictEqual(table.has('u'), false)
})

test('an update keeps the expiry of what is there', async t => {
  const { database } = fresh(t)
  for (const ttl of [undefined, 3600000]) {
    const table = database.table(`t${ttl}`, { ttl, valueEncoding: 'utf8' })
    const expiresAt = Date.now() + 60000
    table.put('soon', '1', { expiresAt })
    table.put('never', '1', { ttl: 'never' })
    for (const key of ['soon', 'never', 'new']) table.update(key, () => '2')
    assert.deepStrictEqual(['soon', 'never'].map(key => table.getEntry(key).expiresAt), [expiresAt, undefined])
    assert.strictEqual(table.getEntry('new').expiresAt > Date.now(), ttl !== undefined)
    // What expires while it is changed is changed anew, as what is not there.
    const seen = []
    table.put('now', '1', { ttl: 20 })
    table.update('now', value => {
      seen.push(value)
      while (value !== undefined && table.has('now'));
      return '2'
    })
    assert.deepStrictEqual([seen, table.get('now')], [['1', undefined], '2'])
  }
})

test('a transaction whose own condition does not hold is not tried again', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.put('k', '1')
  let attempts = 0
  const f = transaction => {
    attempts++
    transaction.put(table, 'k', '2', { ifNoExists: true })
  }
  assert.throws(() => database.transaction(f), code('CONFLICT'))
  await assert.rejects(database.transactionAsync(async transaction => f(transaction)), code('CONFLICT'))
  assert.strictEqual(attempts, 2)
  // One that holds no longer since somebody has written meanwhile may hold then.
  attempts = 0
  database.transaction(transaction => {
    const value = String(transaction.get(table, 'k'))
    if (attempts++ === 0) table.put('k', '5')
    transaction.put(table, 'k', value + '!', { ifVersion: attempts === 1 ? 1 : 2 })
  })
  assert.deepStrictEqual([attempts, String(table.get('k'))], [2, '5!'])
})

test('a table whose encodings nobody has named may be read by them where nothing can be stored', t => {
  const { database, place } = fresh(t)
  database.table('t').put('k', '{"n":1}')
  const reader = atomkv.open(place, { readOnly: true })
  assert.deepStrictEqual(reader.table('t', { valueEncoding: 'json' }).get('k'), { n: 1 })
  assert.strictEqual(String(reader.table('t', { valueEncoding: 'binary' }).get('k')), '{"n":1}')
  reader.closeSync()
  // The table of the names is there, but says nothing of this one.
  database.table('named', { valueEncoding: 'json' })
  const later = atomkv.open(place, { readOnly: true })
  assert.deepStrictEqual(later.table('t', { valueEncoding: 'json' }).get('k'), { n: 1 })
  assert.throws(() => later.table('named', { valueEncoding: 'utf8' }), code('TABLE_MISMATCH'))
  later.closeSync()
})

test('text that is streamed is whole, or refused', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'utf8' })
  const write = async (...parts) => {
    const stream = table.createWriteStream('k')
    for (const part of parts) stream.write(...[part].flat())
    stream.end()
    await finished(stream)
  }
  await write('a\ud83d', '\ude00b', '\ud83d', '', '\ude00', 'c')
  assert.strictEqual(table.get('k'), 'a😀b😀c')
  await write(['c3a4', 'hex'], Buffer.from('b'), ['ä', 'utf8'], ['ä', 'UTF-8'])
  assert.strictEqual(table.get('k'), 'äbää')
  for (const parts of [['\ud800x'], ['x\udc00'], ['a\ud83d'], ['a\ud83d', Buffer.from('b')], ['a\ud83d', ['62', 'hex']], ['a\ud83d', 'b']]) {
    await assert.rejects(write(...parts), code('ENCODING'))
  }
  assert.strictEqual(table.get('k'), 'äbää')
})

test('a stream that is aborted before it is open keeps nothing open', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.put('k', 'v')
  const signal = AbortSignal.abort()
  for (const begin of [() => table.createReadStream('k', { signal }), () => table.createWriteStream('k', { signal })]) {
    const stream = begin().on('error', () => {})
    while (stream._atomkv === undefined) await new Promise(resolve => setTimeout(resolve, 5))
    assert.strictEqual(stream._atomkv, 0)
  }
})

test('lmdb-js names', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true })
  const { version } = table.put('a', '1')
  assert.strictEqual(table.getEntry('a').version, version)
  table.put('a', '2', { ifVersion: version })
  assert.throws(() => table.put('a', '3', { ifVersion: version }), atomkv.ConflictError)
  assert.throws(() => table.put('a', '3', { ifNoExists: true }), error => error.found.version === 2 && error.key.toString() === 'a')
  assert.deepStrictEqual(table.getKeys({ start: 'a' }).asArray, ['a'])
  assert.strictEqual(table.getRange({ limit: 1 }).asArray[0].value.toString(), '2')
})

test('databases in memory, dispose', t => {
  const database = atomkv.inMemory()
  database.table('t').put('a', 'b')
  const snapshot = database.snapshot()
  database[Symbol.dispose || Symbol.for('Symbol.dispose')]()
  assert.strictEqual(database.isOpen, false)
  assert.throws(() => snapshot.get(database), code('CLOSED'))
})
