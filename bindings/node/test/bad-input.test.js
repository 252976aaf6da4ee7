'use strict'

const test = require('node:test')
const assert = require('node:assert')
const { atomkv, fresh, code } = require('./common')

test('keys and values of wrong types are typed errors', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  for (const bad of [undefined, null, 5, {}, [], true, Symbol('x'), 5n, () => {}]) {
    assert.throws(() => table.get(bad), code('INVALID_TYPE'))
    assert.throws(() => table.put(bad, 'x'), code('INVALID_TYPE'))
    assert.throws(() => table.put('k', bad), code('INVALID_TYPE'))
    assert.throws(() => table.delete(bad), code('INVALID_TYPE'))
    assert.throws(() => table.getMany([bad]), code('INVALID_TYPE'))
    assert.throws(() => table.putMany([['a', 'b'], [bad, 'x']]), code('INVALID_TYPE'))
    await assert.rejects(table.promises.put(bad, 'x'), code('INVALID_TYPE'))
    await assert.rejects(table.promises.put('k', bad), code('INVALID_TYPE'))
    assert.throws(() => atomkv.open(bad), code('INVALID_TYPE'))
    assert.throws(() => database.table(bad), code('INVALID_TYPE'))
    assert.throws(() => database.transaction(bad === undefined || typeof bad !== 'function' ? bad : 1), code('INVALID_TYPE'))
  }
  assert.strictEqual(table.length, 0)
  assert.throws(() => table.getMany(), code('INVALID_TYPE'))
  assert.throws(() => table.getMany(5), code('INVALID_TYPE'))
  assert.throws(() => table.get(''), code('KEY_EMPTY'))
  assert.throws(() => table.get('x'.repeat(65536)), code('KEY_TOO_LONG'))
  assert.throws(() => table.get('ß'.repeat(40000)), code('KEY_TOO_LONG'))
  table.put('x'.repeat(65535), 'longest')
  assert.strictEqual(table.get('x'.repeat(65535)).toString(), 'longest')
  const ordered = database.table('o', { keyEncoding: 'ordered', valueEncoding: 'json' })
  for (const bad of [undefined, {}, NaN, [undefined], 5n, 'x\ud800', ['x'.repeat(70000)], '\0'.repeat(40000)]) {
    assert.throws(() => ordered.put(bad, 1), error => /INVALID_TYPE|ENCODING|KEY_TOO_LONG/.test(error.code))
  }
  let deep = []
  for (let index = 0; index < 50; index++) deep = [deep]
  assert.throws(() => ordered.put(deep, 1), code('ENCODING'))
  const circular = {}
  circular.self = circular
  assert.throws(() => ordered.put(1, circular), code('ENCODING'))
  assert.throws(() => ordered.put(1, undefined), code('INVALID_TYPE'))
  await assert.rejects(ordered.promises.put(1, undefined, { ttl: 5 }), code('INVALID_TYPE'))
  assert.throws(() => ordered.put(1, 5n), code('ENCODING'))
})

test('huge strings and buffers are typed errors where they are too long', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, valueEncoding: 'utf8' })
  const longest = 'x'.repeat(2 ** 29 - 24)
  for (const huge of [longest, 'é'.repeat(1 << 20), Buffer.alloc(1 << 20)]) {
    const keyed = typeof huge === 'string' ? table : database.table('b', { keyEncoding: 'binary', ordered: true })
    for (const use of [() => keyed.get(huge), () => keyed.put(huge, 'v'), () => keyed.delete(huge), () => keyed.getMany([huge]), () => keyed.scan({ gt: huge }),
      () => keyed.prefix(huge), () => keyed.watch({ prefix: huge }), () => keyed.createReadStream(huge), () => database.batch().put(keyed, huge, 'v')]) {
      assert.throws(use, code('KEY_TOO_LONG'))
    }
    await assert.rejects(keyed.promises.put(huge, 'v'), code('KEY_TOO_LONG'))
    for (const name of ['contains', 'glob', 'after']) assert.throws(() => [...table.scan({ [name]: huge })], code('INVALID_ARGUMENT'))
  }
  for (const use of [() => database.table(longest), () => atomkv.open(longest), () => database.table('x'.repeat(5000))]) {
    assert.throws(use, code('INVALID_ARGUMENT'))
  }
  assert.throws(() => atomkv.open(`/tmp/${'x'.repeat(5000)}`), error => error instanceof atomkv.AtomKVError)
  const large = 'é'.repeat(5 << 20)
  table.put('large', large)
  await table.promises.put('queued', large)
  table.putMany([['batched', large]])
  for (const key of ['large', 'queued', 'batched']) assert.ok(table.get(key) === large)
  assert.ok(table.getMany(['large'])[0] === large && table.scan().toArray().every(({ value }) => value === large))
})

test('lone surrogates are refused, never replaced', t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'utf8' })
  for (const bad of ['\ud800', 'a\udc00b', '\ud800'.repeat(100)]) {
    assert.throws(() => table.put(bad, 'x'), code('ENCODING'))
    assert.throws(() => table.put('k', bad), code('ENCODING'))
  }
  assert.throws(() => database.table('\ud800'), code('ENCODING'))
})

test('detached and odd buffers', t => {
  const { database } = fresh(t)
  const table = database.table('t', { keyEncoding: 'binary' })
  const detached = new Uint8Array([1, 2, 3])
  structuredClone(detached, { transfer: [detached.buffer] })
  assert.throws(() => table.put('k', detached), code('INVALID_TYPE'))
  assert.throws(() => table.put(detached, 'x'), code('INVALID_TYPE'))
  assert.strictEqual(table.has('k'), false)
  table.put('k', new Uint8Array(0))
  assert.strictEqual(table.get('k').length, 0)
  table.put('k', new Uint8Array([0, 1, 2, 3]).subarray(1, 3))
  const value = table.get('k')
  assert.deepStrictEqual([...value], [1, 2])
  assert.throws(() => table.getInto('k', detached), code('INVALID_TYPE'))
  // Taking the memory of one value away takes nothing from the next ones.
  try {
    structuredClone(value.buffer, { transfer: [value.buffer] })
  } catch {}
  if (ArrayBuffer.prototype.transfer) value.buffer.transfer()
  for (let index = 0; index < 3000; index++) assert.strictEqual(table.get('k').length, 2)
  assert.throws(() => table.put('k', new Uint16Array(4)), code('INVALID_TYPE'))
  assert.throws(() => table.put('k', new ArrayBuffer(4)), code('INVALID_TYPE'))
})

test('options that do not exist or are of wrong types', t => {
  const { database, place } = fresh(t)
  assert.throws(() => atomkv.open(place, { creatIfMissing: true }), code('INVALID_ARGUMENT'))
  assert.throws(() => atomkv.open(place, { background: 'yes' }), code('INVALID_TYPE'))
  assert.throws(() => atomkv.open(place, null), code('INVALID_TYPE'))
  assert.throws(() => atomkv.open('a\0b'), code('INVALID_TYPE'))
  assert.throws(() => atomkv.open('/proc/none/db'), error => error instanceof atomkv.AtomKVError)
  assert.throws(() => database.table('t', { partitions: 0 }), code('INVALID_ARGUMENT'))
  assert.throws(() => database.table('t', { partitions: 1.5 }), code('INVALID_TYPE'))
  assert.throws(() => database.table('t', { keyEncoding: 'morse' }), code('INVALID_ARGUMENT'))
  assert.throws(() => database.table('t', { valueEncoding: '__proto__' }), code('INVALID_ARGUMENT'))
  const table = database.table('t')
  for (const bad of [{ ttl: -1 }, { ttl: 'soon' }, { expect: 5 }, { expect: { version: 'x' } }, { expiresAt: new Date(NaN) }, { ifVersion: 1.5 }]) {
    assert.throws(() => table.put('k', 'v', bad), code('INVALID_TYPE'))
  }
  assert.throws(() => table.put('k', 'v', { durability: 'maybe' }), code('INVALID_ARGUMENT'))
  assert.throws(() => table.put('k', 'v', { ifversion: 1 }), code('INVALID_ARGUMENT'))
  assert.throws(() => [...table.scan({ reverse: true })], code('INVALID_ARGUMENT'))
  assert.throws(() => table.scan({ limit: -1 }), code('INVALID_TYPE'))
  assert.throws(() => table.merge('k', { add: 1 }), code('INVALID_ARGUMENT'))
  assert.throws(() => database.batch().put({}, 'a', 'b'), code('INVALID_TYPE'))
  assert.throws(() => database.batch().write(), code('INVALID_ARGUMENT'))
  assert.throws(() => database.watch({ signal: {} }), code('INVALID_TYPE'))
  assert.strictEqual(table.has('k'), false)
})

test('after closing everything says so', async t => {
  const { database, place } = fresh(t)
  const table = database.table('t')
  table.put('k', 'v')
  const snapshot = database.snapshot()
  const transaction = database.begin()
  const scan = table.scan()[Symbol.iterator]()
  const batch = database.batch().put(table, 'a', 'b')
  scan.next()
  const queued = table.promises.put('queued', 'v')
  const closing = database.close()
  await queued
  await closing
  await database.close()
  for (const use of [() => table.get('k'), () => table.put('k', 'v'), () => table.getMany(['k']), () => [...table.scan()], () => database.table('t'),
    () => snapshot.get(table, 'k'), () => transaction.put(table, 'k', 'v'), () => transaction.commit(), () => batch.write(), () => database.snapshot(),
    () => database.stats(), () => table.length, () => database.watch(), () => database.transaction(() => {})]) {
    assert.throws(use, code('CLOSED'))
  }
  for (const use of [() => table.promises.put('k', 'v'), () => table.promises.get('k'), () => database.sync(), () => database.compact()]) {
    await assert.rejects(use(), code('CLOSED'))
  }
  const again = atomkv.open(place)
  assert.strictEqual(again.table('t').get('queued').toString(), 'v')
  again.closeSync()
})

test('exceptions of the caller come through', t => {
  const { database } = fresh(t)
  const mine = new TypeError('mine')
  let isBad = false
  const own = { name: 'own', encode: value => { if (isBad) throw mine; return value }, decode: bytes => { if (isBad) throw mine; return bytes.toString() } }
  const table = database.table('t', { valueEncoding: own })
  table.put('k', 'v')
  isBad = true
  for (const use of [() => table.put('k', 'v'), () => table.get('k'), () => [...table.scan()], () => table.getMany(['k']), () => table.putMany([['k', 'v']]),
    () => database.transaction(transaction => transaction.put(table, 'k', 'v'))]) assert.throws(use, error => error === mine)
  isBad = false
  assert.strictEqual(table.get('k'), 'v')
  const nested = { name: 'nested', encode: value => { table.put('inner', 'inner value'); return value }, decode: bytes => { table.get('inner'); return bytes.toString() } }
  const outer = database.table('outer', { valueEncoding: nested })
  outer.put('key', 'outer value')
  assert.deepStrictEqual([outer.get('key'), table.get('inner')], ['outer value', 'inner value'])
  assert.throws(() => table.scan().forEach(() => { throw mine }), error => error === mine)
  assert.throws(() => table.putMany((function * () { yield ['a', 'b']; throw mine })()), error => error === mine)
  assert.strictEqual(table.has('a'), false)
  const wrong = database.table('wrong', { valueEncoding: { name: 'wrong', encode: () => 5, decode: () => 5 } })
  assert.throws(() => wrong.put('k', 1), code('INVALID_TYPE'))
})
