'use strict'
// Every option does what it says, or is refused: none is ignored.

const test = require('node:test')
const assert = require('node:assert')
const path = require('node:path')
const { once } = require('node:events')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { atomkv, fresh, code } = require('./common')

const FALSE_CONDITIONS = [
  { expect: 'absent' }, { expect: { version: 7 } }, { expect: { sequence: 1 } }, { ifVersion: 7 }, { ifSequence: 1 }, { ifNoExists: true }
]
const trueConditions = ({ version, sequence }) => [
  { expect: 'present' }, { expect: { version } }, { expect: { sequence } }, { expect: { version, sequence } }, { ifVersion: version },
  { ifSequence: sequence }, { ifExists: true }, { ifNoExists: false }, {}
]

/** One attempt. */
async function inTransaction (table, f) {
  const transaction = table.database.begin()
  try {
    f(transaction)
    await transaction.commitAsync()
  } finally {
    transaction.close()
  }
}

/** All ways to write with a condition, which return or reject. */
const ways = {
  put: (table, key, options) => table.put(key, 'new', options),
  'queued put': (table, key, options) => table.promises.put(key, 'new', options),
  batch: (table, key, options) => table.batch([{ type: 'put', key, value: 'new', ...options }]),
  'queued batch': (table, key, options) => table.promises.batch([{ key, value: 'new', ...options }]),
  transaction: (table, key, options) => inTransaction(table, transaction => transaction.put(table, key, 'new', options)),
  setExpiry: (table, key, options) => table.setExpiry(key, { ...options, ttl: 3600000 }),
  'queued setExpiry': (table, key, options) => table.promises.setExpiry(key, { ...options, ttl: 3600000 }),
  'write stream': (table, key, options) => pipeline(Readable.from([Buffer.from('new')]), table.createWriteStream(key, options)),
  delete: (table, key, options) => table.delete(key, options),
  'queued delete': (table, key, options) => table.promises.delete(key, options),
  'delete of a batch': (table, key, options) => table.batch().delete(table, key, options).write(),
  'delete of a transaction': (table, key, options) => inTransaction(table, transaction => transaction.delete(table, key, options))
}

for (const [name, write] of Object.entries(ways)) {
  test(`conditions: ${name}`, async t => {
    const { database } = fresh(t)
    const table = database.table('t')
    let written = table.put('k', 'old')
    for (const options of FALSE_CONDITIONS) {
      await assert.rejects(async () => write(table, 'k', options), code('CONFLICT'), JSON.stringify(options))
      assert.strictEqual(table.getEntry('k').sequence, written.sequence)
    }
    for (const options of trueConditions(written).map((_, index) => index)) {
      await write(table, 'k', trueConditions(written)[options])
      assert.notStrictEqual(table.getEntry('k')?.sequence, written.sequence)
      written = table.put('k', 'old')
    }
    for (const options of [{ ifExists: true }, { expect: 'present' }, { ifVersion: 1 }]) {
      await assert.rejects(async () => write(table, 'none', options), code('CONFLICT'))
    }
    await assert.rejects(async () => write(table, 'k', { ifVersion: 1, ifNoExists: true }), code('INVALID_ARGUMENT'))
    for (const expect of [5, false]) await assert.rejects(async () => write(table, 'k', { expect }), code('INVALID_TYPE'))
    await assert.rejects(async () => write(table, 'k', { ifversion: 5 }), code('INVALID_ARGUMENT'))
    assert.strictEqual(table.get('k').toString(), 'old')
  })
}

test('expiry is told in one way, and only where something is written', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { ttl: 3600000 })
  const { put, 'queued put': queued, batch, transaction, 'write stream': stream } = ways
  const expiries = [(table, key, options) => table.setExpiry(key, options), (table, key, options) => table.promises.setExpiry(key, options)]
  for (const write of [put, queued, batch, transaction, stream, ...expiries]) {
    table.put('k', 'old')
    const begin = Date.now()
    const at = begin + 7200000
    const soon = () => Math.round((table.getEntry('k').expiresAt - begin) / 600000)
    await write(table, 'k', { ttl: 600000 })
    assert.strictEqual(soon(), 1)
    await write(table, 'k', { expiresAt: at })
    assert.strictEqual(table.getEntry('k').expiresAt, at)
    await write(table, 'k', { expiresAt: new Date(at) })
    assert.strictEqual(table.getEntry('k').expiresAt, at)
    await write(table, 'k', { ttl: 'never' })
    assert.strictEqual(table.getEntry('k').expiresAt, undefined)
    await write(table, 'k', {})
    assert.strictEqual(soon(), 6)
    for (const bad of [{ ttl: 1, expiresAt: at }]) await assert.rejects(async () => write(table, 'k', bad), code('INVALID_ARGUMENT'))
    for (const bad of [{ ttl: 0 }, { expiresAt: 1 }]) await assert.rejects(async () => write(table, 'k', bad), code('INVALID_ARGUMENT'), JSON.stringify(bad))
    for (const bad of [{ ttl: 1.5 }, { ttl: 'x' }, { ttl: -1 }, { expiresAt: 'x' }, { expiresAt: new Date(NaN) }]) {
      await assert.rejects(async () => write(table, 'k', bad), code('INVALID_TYPE'), JSON.stringify(bad))
    }
  }
  for (const remove of [ways.delete, ways['queued delete'], ways['delete of a batch'], ways['delete of a transaction']]) {
    await assert.rejects(async () => remove(table, 'k', { ttl: 5 }), code('INVALID_ARGUMENT'))
  }
})

test('durability: of a write, of a commit, of a table', async t => {
  const { database, place } = fresh(t, { background: false })
  const unsynced = () => database.stats().unsynced_bytes
  const buffered = database.table('b')
  const durable = database.table('s', { durability: 'sync' })
  assert.deepStrictEqual([buffered.durability, durable.durability], ['buffered', 'sync'])
  const writes = (table, options) => [
    () => table.put('k', 'v', options),
    () => table.promises.put('k', 'v', options),
    () => table.putMany([['k', 'v']], options),
    () => table.promises.putMany([['k', 'v']], options),
    () => table.batch([{ key: 'k', value: 'v' }], options),
    () => database.batch().put(buffered, 'a', 'b').put(table, 'k', 'v').writeAsync(options),
    () => database.transaction(transaction => transaction.put(table, 'k', 'v'), options),
    () => database.transactionAsync(async transaction => transaction.put(table, 'k', 'v'), options),
    () => table.delete('k', options)
  ]
  for (const [table, options, isSynced] of [[buffered, undefined, false], [buffered, { durability: 'sync' }, true], [durable, undefined, true], [durable, { durability: 'buffered' }, false]]) {
    for (const write of writes(table, options)) {
      await database.sync()
      assert.strictEqual(unsynced(), 0)
      await write()
      assert.strictEqual(unsynced() === 0, isSynced, `${write} ${table.name} ${JSON.stringify(options)}`)
    }
  }
  assert.throws(() => database.batch().put(buffered, 'k', 'v', { durability: 'sync' }), code('INVALID_ARGUMENT'))
  assert.throws(() => database.transaction(transaction => transaction.put(buffered, 'k', 'v', { durability: 'sync' })), code('INVALID_ARGUMENT'))
  assert.throws(() => database.transaction(() => {}, { durability: 'x' }), code('INVALID_ARGUMENT'))
  // A table is stored with its durability, and may be opened otherwise.
  const otherwise = database.table('s', { durability: 'buffered' })
  await database.sync()
  otherwise.put('k', 'v')
  assert.ok(unsynced() > 0)
  assert.strictEqual(database.table('s', { durability: 'buffered' }), otherwise)
  assert.strictEqual(database.table('s'), durable)
  await database.close()
  assert.throws(() => otherwise.get('k'), code('CLOSED'))
  const again = atomkv.open(place)
  assert.strictEqual(again.table('s').durability, 'sync')
  await again.close()
})

test('tables: each option', t => {
  const { database } = fresh(t)
  const table = (name, options) => database.table(name, options)
  assert.strictEqual(table('p', { partitions: 3 }).stats().partitions, 3)
  assert.throws(() => table('p', { partitions: 3.5 }), code('INVALID_TYPE'))
  assert.throws(() => table('p0', { partitions: 20000 }), code('INVALID_ARGUMENT'))
  assert.throws(() => table('p0', { partitions: 2 ** 40 }), code('INVALID_ARGUMENT'))
  table('auto', { autoPartitions: true })
  assert.throws(() => table('p', { ordered: true }), code('TABLE_MISMATCH'))
  assert.strictEqual(table('two', { retention: 2 }).put('k', '1').version, 1)
  for (const value of ['2', '3', '4']) table('two').put('k', value)
  assert.deepStrictEqual(table('two').history('k').map(({ version }) => version), [4, 3])
  assert.throws(() => table('two', { retention: 3 }), code('TABLE_MISMATCH'))
  for (let index = 0; index < 5; index++) {
    table('all', { retention: 'all' }).put('k', String(index))
    table('hour', { retention: { ms: 3600000 } }).put('k', String(index))
  }
  assert.deepStrictEqual([table('all').history('k').length, table('hour').history('k').length], [5, 5])
  for (const bad of ['some', {}, { ms: 'x' }, { ms: 1, versions: 2 }, -1, 1.5, null, true]) assert.throws(() => table('bad', { retention: bad }), code('INVALID_TYPE'))
  assert.ok(table('ttl', { ttl: 3600000 }).put('k', 'v') && table('ttl').getEntry('k').expiresAt > Date.now())
  for (const kind of ['hasher', 'sharder', 'validator', 'compressor']) {
    assert.throws(() => table('bad', { [kind]: 'no such service' }), error => error instanceof atomkv.AtomKVError && /no such service/.test(error.message))
    assert.throws(() => table('bad', { [kind]: 5 }), code('INVALID_TYPE'))
  }
  table('lz4', { compressor: 'lz4' }).put('k', 'x'.repeat(100000))
  assert.strictEqual(table('lz4').get('k').length, 100000)
  assert.ok(!database.tables().includes('bad'))
})

test('databases: each option', async t => {
  const { folder } = fresh(t)
  const place = name => path.join(folder, name)
  assert.throws(() => atomkv.open(place('none'), { createIfMissing: false }), code('NOT_A_DATABASE'))
  const extremes = [0, Number.MAX_SAFE_INTEGER]
  let count = 0
  for (const name of ['syncIntervalMs', 'syncBytes', 'segmentBytes', 'checkpointBytes', 'largeValueBytes', 'compactionRate', 'feedBytes']) {
    for (const value of extremes) {
      try {
        const database = atomkv.open(place(`extreme${count++}`), { [name]: value, background: false })
        database.table('t').put('k', 'v')
        assert.strictEqual(database.table('t').get('k').toString(), 'v')
        database.closeSync()
      } catch (error) {
        assert.strictEqual(error.code, 'ATOMKV_INVALID_ARGUMENT', `${name} ${value}: ${error.message}`)
      }
    }
    for (const bad of [-1, 1.5, '1', null, NaN]) assert.throws(() => atomkv.open(place('bad'), { [name]: bad }), code('INVALID_TYPE'))
  }
  for (const bad of ['x', null, {}]) assert.throws(() => atomkv.open(place('bad'), { deadRatio: bad }), code('INVALID_TYPE'))
  for (const bad of [-1, 0, NaN, Infinity]) assert.throws(() => atomkv.open(place('bad'), { deadRatio: bad }), code('INVALID_ARGUMENT'))
  for (const name of ['createIfMissing', 'mapped', 'background', 'verifyChecksums', 'readOnly', 'skipDamagedLog', 'reapExpired']) {
    for (const bad of [1, 'true', null]) assert.throws(() => atomkv.open(place('bad'), { [name]: bad }), code('INVALID_TYPE'))
  }
  const all = atomkv.open(place('all'), { createIfMissing: true, mapped: false, verifyChecksums: true, reapExpired: false, skipDamagedLog: true, deadRatio: 0.5 })
  all.table('t').put('k', 'v')
  const beside = await atomkv.openAsync(place('all'), { readOnly: true })
  assert.strictEqual(beside.table('t').get('k').toString(), 'v')
  all.table('t').put('k', 'newer')
  const newer = await beside.refresh()
  assert.strictEqual(newer.table('t').get('k').toString(), 'newer')
  await Promise.all([newer.close(), beside.close(), all.close()])
})

test('scans: each option, and no two that say the same', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, valueEncoding: 'utf8' })
  const keys = ['a', 'ab', 'abc', 'b', 'bc', 'c']
  table.putMany(keys.map(key => [key, key.toUpperCase()]))
  const cases = [
    [{ gt: 'ab' }, ['abc', 'b', 'bc', 'c']], [{ gte: 'ab' }, ['ab', 'abc', 'b', 'bc', 'c']], [{ lt: 'b' }, ['a', 'ab', 'abc']], [{ lte: 'b' }, ['a', 'ab', 'abc', 'b']],
    [{ gt: 'a', lte: 'b' }, ['ab', 'abc', 'b']], [{ start: 'b' }, ['b', 'bc', 'c']], [{ start: 'ab', end: 'b' }, ['ab', 'abc']],
    [{ start: 'b', end: 'a', reverse: true }, ['b', 'abc', 'ab']], [{ start: 'b', lte: 'bc' }, ['b', 'bc']],
    [{ prefix: 'a' }, ['a', 'ab', 'abc']], [{ prefix: 'a', gt: 'a' }, ['ab', 'abc']], [{ prefix: 'b', gte: 'a', lt: 'bb' }, ['b']], [{ prefix: 'b', lt: 'z' }, ['b', 'bc']],
    [{ prefix: 'a', start: 'abb', reverse: true }, ['ab', 'a']], [{ prefix: 'b', lte: 'a' }, []], [{ prefix: '', gt: 'b' }, ['bc', 'c']], [{ prefix: 'a', reverse: true, limit: 2 }, ['abc', 'ab']], [{ prefix: '' }, keys],
    [{ limit: 0 }, []], [{ limit: 2 }, ['a', 'ab']], [{ contains: 'b' }, ['ab', 'abc', 'b', 'bc']], [{ contains: Buffer.from('bc') }, ['abc', 'bc']],
    [{ glob: '?b*' }, ['ab', 'abc']], [{ gt: 'x', lt: 'a' }, []], [{ reverse: false }, keys], [{ gt: undefined }, keys]
  ]
  const snapshot = database.snapshot()
  const transaction = database.begin()
  for (const [options, expected] of cases) {
    const about = JSON.stringify(options)
    assert.deepStrictEqual([...table.keys(options)], expected, about)
    assert.deepStrictEqual(table.values(options).toArray(), expected.map(key => key.toUpperCase()), about)
    assert.deepStrictEqual(table.scan(options).map(({ key }) => key).toArray(), expected, about)
    assert.strictEqual(table.scan(options).count(), expected.length, about)
    assert.deepStrictEqual([...snapshot.keys(table, options)], expected, about)
    assert.deepStrictEqual(transaction.keys(table, options), expected, about)
    assert.deepStrictEqual(transaction.scan(table, options), expected.map(key => ({ key, value: key.toUpperCase() })), about)
  }
  assert.strictEqual(table.scan().filter(({ key }) => key.startsWith('a')).count(), 3)
  for (const bad of [{ gt: 'a', gte: 'b' }, { lt: 'a', lte: 'b' }, { start: 'a', gt: 'b' }, { end: 'a', lt: 'b' }, { keysOnly: true }, { after: 'x' }, { after: Buffer.from('x') }]) {
    assert.throws(() => [...table.scan(bad)], code('INVALID_ARGUMENT'), JSON.stringify(bad))
  }
  for (const bad of [{ versions: true }, { paged: true }, { after: 'x' }]) assert.throws(() => transaction.scan(table, bad), code('INVALID_ARGUMENT'))
  for (const bad of [{ gt: 5 }, { prefix: null }, { contains: 5 }, { glob: {} }, { limit: 1.5 }, { limit: Infinity }, { reverse: 1 }]) {
    assert.throws(() => [...table.scan(bad)], code('INVALID_TYPE'), JSON.stringify(bad))
  }
  assert.throws(() => table.scan({ contains: '\ud800' }), code('ENCODING'))
  for (const view of [table, { keys: options => snapshot.keys(table, options), values: options => snapshot.values(table, options) }]) {
    for (const part of ['keys', 'values']) assert.throws(() => view[part]({ versions: true }), code('INVALID_ARGUMENT'))
  }
  // False is a key there, and so is null.
  const ordered = database.table('o', { ordered: true, keyEncoding: 'ordered' })
  ordered.putMany([[false, ''], [true, '']])
  assert.deepStrictEqual([...ordered.keys({ gt: false })], [true])
  for (const bad of [{ gt: null, gte: false }, { lt: true, lte: false }]) assert.throws(() => ordered.keys(bad), code('INVALID_ARGUMENT'))
  const versions = [...table.scan({ versions: true, limit: 1 })]
  assert.deepStrictEqual([versions[0].version, versions[0].sequence], [1, table.getEntry('a').sequence])
  const paged = []
  for (let after; ;) {
    const { items, token } = table.scan({ limit: 4, after }).page()
    paged.push(...items.map(({ key }) => key))
    if (token === undefined) break
    after = token
  }
  assert.deepStrictEqual(paged.sort(), keys)
  transaction.abort()
  // A range of a snapshot that was closed meanwhile reads no other one.
  const late = snapshot.scan(table)
  snapshot.close()
  const another = database.snapshot()
  assert.throws(() => [...late], code('CLOSED'))
  another.close()
})

test('watches: each option', async t => {
  const { database } = fresh(t)
  const [a, b] = ['a', 'b'].map(name => database.table(name, { valueEncoding: 'utf8' }))
  const first = a.put('x1', '1').sequence
  b.put('x2', '2')
  const seen = async options => {
    const watch = database.watch(options)
    a.put('x3', '3')
    b.put('y4', '4')
    const changes = watch.take().map(({ table, kind, key, value }) => [table, kind, key, value].join(' '))
    watch.close()
    return changes
  }
  assert.deepStrictEqual(await seen(), ['a put x3 3', 'b put y4 4'])
  assert.deepStrictEqual(await seen({ table: a }), ['a put x3 3'])
  assert.deepStrictEqual(await seen({ tables: [a, b] }), ['a put x3 3', 'b put y4 4'])
  assert.deepStrictEqual(await seen({ tables: [a, b], prefix: 'y' }), ['b put y4 4'])
  assert.deepStrictEqual((await seen({ table: a, from: first })).slice(0, 2), ['a put x1 1', 'a put x3 3'])
  assert.deepStrictEqual((await seen({ table: b, stateFirst: true })).sort(), ['b put y4 4', 'b state x2 2', 'b state y4 4'])
  for (const bad of [{ table: a, tables: [b] }]) assert.throws(() => database.watch(bad), code('INVALID_ARGUMENT'))
  for (const bad of [{ table: 'a' }, { tables: a }, { tables: [] }, { tables: ['a'] }, { from: -1 }, { from: '1' }, { stateFirst: 1 }, { signal: 5 }]) {
    assert.throws(() => database.watch(bad), code('INVALID_TYPE'), Object.keys(bad)[0])
  }
  assert.throws(() => a.watch({ prefix: 5 }), code('INVALID_TYPE'))
  // Where another one goes on is known while somebody waits, and after closing.
  const watch = a.watch()
  const waiting = watch.next()
  await new Promise(resolve => setTimeout(resolve, 20))
  const from = watch.resumeFrom
  assert.throws(() => watch.take(), code('BUSY'))
  const { sequence } = a.put('k', 'v')
  assert.ok(from <= sequence)
  assert.strictEqual((await waiting).value.key, 'k')
  await watch.return()
  assert.ok(watch.resumeFrom > sequence)
  a.put('l', 'v')
  const next = database.watch({ table: a, from: watch.resumeFrom })
  assert.deepStrictEqual(next.take().map(({ key }) => key), ['l'])
})

test('streams: each option', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const value = Buffer.from(Array.from({ length: 1000 }, (_, index) => index & 255))
  table.put('k', value)
  const read = async (options, view = table) => {
    const parts = []
    for await (const part of (view === table ? table.createReadStream('k', options) : view.createReadStream(table, 'k', options))) parts.push(part)
    return Buffer.concat(parts)
  }
  assert.deepStrictEqual(await read(), value)
  assert.deepStrictEqual(await read({ start: 10, end: 20 }), value.subarray(10, 20))
  assert.deepStrictEqual(await read({ start: 990, end: 5000, highWaterMark: 3 }), value.subarray(990))
  assert.strictEqual((await read({ start: 5000 })).length, 0)
  assert.strictEqual((await read({ start: 20, end: 10 })).length, 0)
  for (const bad of [{ start: -1 }, { end: 'x' }, { start: NaN }, { signal: {} }, { highWaterMark: -5 }, { highWaterMark: 'x' }]) {
    assert.throws(() => table.createReadStream('k', bad), code('INVALID_TYPE'))
  }
  for (const bad of [{ begin: 5 }, { view: 5 }]) assert.throws(() => table.createReadStream('k', bad), code('INVALID_ARGUMENT'))
  for (const bad of [{ signal: 5 }, { highWaterMark: 1.5 }, { ttl: 'x' }]) assert.throws(() => table.createWriteStream('k', bad), code('INVALID_TYPE'))
  assert.throws(() => table.createWriteStream('k', { start: 5 }), code('INVALID_ARGUMENT'))
  const snapshot = database.snapshot()
  table.put('k', 'new')
  const stream = read(undefined, snapshot)
  snapshot.close()
  database.snapshot()
  assert.deepStrictEqual(await stream, value)
  const controller = new AbortController()
  const aborted = table.createReadStream('k', { signal: controller.signal })
  controller.abort()
  await assert.rejects(once(aborted, 'end'), { name: 'AbortError' })
  const synced = table.createWriteStream('synced', { durability: 'sync' })
  await pipeline(Readable.from([value]), synced)
  assert.strictEqual(database.stats().unsynced_bytes, 0)
})

test('care: each option, of the call that has it', async t => {
  const { database, folder } = fresh(t)
  const place = name => path.join(folder, name)
  database.table('t').put('k', 'v')
  await database.verify({ threads: 1, damagesMax: 1 })
  await database.backup(place('backup'), { link: false, verify: true })
  await atomkv.restore(place('backup'), place('copy'), { verify: false })
  await atomkv.verify(place('copy'), { threads: 1, damagesMax: 5 })
  const calls = [options => database.compact(options), options => database.verify(options), options => database.backup(place('other'), options),
    options => atomkv.restore(place('backup'), place('third'), options), options => atomkv.verify(place('copy'), options)]
  for (const call of calls) {
    await assert.rejects(async () => call({ sgnal: 5 }), code('INVALID_ARGUMENT'))
    await assert.rejects(async () => call({ signal: 5 }), code('INVALID_TYPE'))
    await assert.rejects(async () => call({ onProgress: 5 }), code('INVALID_TYPE'))
    await assert.rejects(async () => call({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  }
  await assert.rejects(async () => database.compact({ threads: 2 }), code('INVALID_ARGUMENT'))
  await assert.rejects(async () => database.backup(place('other'), { threads: 2 }), code('INVALID_ARGUMENT'))
  await assert.rejects(async () => atomkv.restore(place('backup'), place('copy')), error => error instanceof atomkv.AtomKVError)
})

test('a merge whose value cannot be decoded is told as written', t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'utf8' })
  const [first, second] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)]
  const written = table.merge('k', { append: first })
  assert.strictEqual(written.version, 1)
  assert.throws(() => written.value, code('ENCODING'))
  assert.throws(() => table.get('k'), code('ENCODING'))
  const whole = table.merge('k', { append: second })
  assert.deepStrictEqual([whole.version, whole.value, table.get('k')], [2, 'é', 'é'])
  const counts = database.table('n', { valueEncoding: 'utf8' })
  for (let count = 1; count <= 200; count++) assert.strictEqual(counts.merge('hits', { addInteger: 1 }).version, count)
})

test('merges and what needs an argument', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  assert.strictEqual(table.merge('n', { addInteger: 5n }).value.readBigInt64LE(), 5n)
  assert.strictEqual(table.merge('n', { addInteger: -7 }).value.readBigInt64LE(), -2n)
  assert.strictEqual(table.merge('d', { addDecimal: 10 ** 15 }).value.toString(), '1000000000000000')
  assert.strictEqual(table.merge('a', { append: 'x' }).value.toString(), 'x')
  assert.strictEqual(table.merge('a', { append: Buffer.from('y') }).value.toString(), 'xy')
  assert.strictEqual(table.merge('j', { jsonMergePatch: { a: [1] } }).value.toString(), '{"a":[1]}')
  assert.strictEqual(table.merge('j', { jsonMergePatch: 'text' }).value.toString(), '"text"')
  for (const bad of [{ addInteger: 1.5 }, { addInteger: '1' }, { addDecimal: {} }, { append: 5 }, { jsonMergePatch: undefined }]) {
    assert.throws(() => table.merge('k', bad), code('INVALID_TYPE'))
  }
  const circular = {}
  circular.self = circular
  for (const bad of [{ append: '\ud800' }, { jsonMergePatch: 5n }, { jsonMergePatch: circular }]) assert.throws(() => table.merge('k', bad), code('ENCODING'))
  for (const bad of [{}, { append: 'x', addInteger: 1 }, null, undefined, 'append']) assert.throws(() => table.merge('k', bad), code('INVALID_ARGUMENT'))
  assert.throws(() => table.merge('k', { addInteger: 2n ** 64n }), code('INVALID_ARGUMENT'))
  assert.throws(() => table.merge('a', { addInteger: 1 }), code('MERGE'))
  assert.throws(() => table.putIf('k', 'v'), code('INVALID_TYPE'))
  await assert.rejects(table.promises.putIf('k', 'v'), code('INVALID_TYPE'))
  assert.throws(() => database.batch().expect(table, 'k'), code('INVALID_TYPE'))
  assert.throws(() => table.batch([{ type: 'expect', key: 'k', ifVersion: 1 }]), code('INVALID_ARGUMENT'))
  assert.throws(() => table.batch([{ type: 'putt', key: 'k', value: 'v' }]), code('INVALID_ARGUMENT'))
  assert.strictEqual(table.has('k'), false)
})

test('an expiry that is given on a thread comes behind what is queued, and before closing', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const long = Buffer.alloc(3 << 20, 'ab')
  await pipeline(Readable.from([long]), table.createWriteStream('long'))
  const queued = table.promises.put('k', 'v')
  const told = table.promises.setExpiry('k', { ttl: 3600000 })
  const ofLong = table.promises.setExpiry('long', { ttl: 3600000 })
  const none = table.promises.setExpiry('none', { ttl: 3600000 })
  assert.ok((await told).sequence > await queued)
  assert.strictEqual((await told).version, 2)
  assert.strictEqual(await none, undefined)
  assert.strictEqual((await ofLong).version, 2)
  assert.ok(table.getEntry('k').expiresAt > Date.now())
  const entry = table.getEntry('long')
  assert.ok(entry.expiresAt > Date.now() && entry.value.equals(long))
  // What is written behind it has the table's expiry, not the one that was given before.
  const behind = [table.promises.setExpiry('long', { ttl: 60000 }), table.promises.setExpiry('k', { ttl: 60000 }), table.promises.put('k', 'new')]
  await Promise.all(behind)
  assert.strictEqual(table.getEntry('k').expiresAt, undefined)
  assert.strictEqual(table.get('k').toString(), 'new')
  const many = Array.from({ length: 5000 }, () => table.promises.setExpiry('k', { ttl: 3600000 }))
  assert.strictEqual((await Promise.all(many)).at(-1).version, 5004)
  await assert.rejects(table.promises.setExpiry('k', { expiresAt: 5 }), code('INVALID_ARGUMENT'))
  const last = table.promises.setExpiry('k', { ttl: 'never' })
  await database.close()
  assert.strictEqual((await last).version, 5005)
  await assert.rejects(table.promises.setExpiry('k', { ttl: 5 }), code('CLOSED'))
})
