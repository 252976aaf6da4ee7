'use strict'

const test = require('node:test')
const vm = require('node:vm')
const assert = require('node:assert')
const { atomkv, fresh, code } = require('./common')

function transfer (view) {
  structuredClone(view.buffer, { transfer: [view.buffer] })
}

test('a batch that is written again while it is empty does not take the operations of others', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const first = database.batch().put(table, 'a', '1')
  await first.writeAsync()
  await assert.rejects(first.writeAsync(), code('INVALID_ARGUMENT'))
  const second = database.batch().put(table, 'b', '2')
  assert.strictEqual(first.count, 0)
  assert.strictEqual(second.count, 1)
  assert.strictEqual(typeof second.write(), 'number')
  assert.strictEqual(String(table.get('b')), '2')
})

test('a queued write that is refused is the error of nobody else', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const results = await Promise.allSettled([
    table.promises.put('a', '1'), table.promises.put('', '2'), table.promises.delete(''), table.promises.put('b', '3')
  ])
  assert.deepStrictEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected', 'fulfilled'])
  assert.ok(code('KEY_EMPTY')(results[1].reason))
  assert.deepStrictEqual(table.keys().toArray().sort(), ['a', 'b'])
})

test('getters of options and keys may call the database', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.put('key', 'value', { get ttl () { table.put('another key', 'another value'); return 1e9 } })
  assert.deepStrictEqual(table.scan().toArray().map(({ key, value }) => [key, String(value)]).sort(), [['another key', 'another value'], ['key', 'value']])
  table.delete('key', { get ifExists () { table.get('another key'); return true } })
  assert.deepStrictEqual(table.keys().toArray(), ['another key'])
  const { version } = table.getEntry('another key')
  const expect = { get version () { table.put('c', '1', { ifNoExists: true }); return version } }
  assert.strictEqual(table.put('another key', 'x', { expect }).version, version + 1)

  const ordered = database.table('o', { ordered: true, keyEncoding: 'ordered' })
  const list = inner => Object.defineProperty(['x', 'y', 'z'], 1, { get () { inner(); return 'y' } })
  ordered.put(list(() => ordered.get(['longer than the other', 1])), '1')
  assert.deepStrictEqual(ordered.keys().toArray(), [['x', 'y', 'z']])
  const batch = database.batch()
  batch.put(ordered, list(() => batch.put(ordered, ['inner'], 'inner')), 'outer')
  batch.write()
  assert.deepStrictEqual(ordered.scan().toArray().map(({ key, value }) => [key, String(value)]), [[['inner'], 'inner'], [['x', 'y', 'z'], 'outer']])

  table.putMany([['a', '1'], ['b', '2']])
  const keys = new Proxy(['a', 'b', 'none'], { get (target, name) { if (name === '1') table.getMany(['a', 'a', 'a', 'a']); return target[name] } })
  assert.deepStrictEqual(table.getMany(keys).map(value => value && String(value)), ['1', '2', undefined])
})

test('sending a value to another thread takes no other value away', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true })
  const entries = Array.from({ length: 40 }, (_, index) => [`k${index + 10}`, Buffer.alloc(20, index)])
  table.putMany(entries)
  const attempt = value => {
    // Node 21 and later refuse to transfer what is shared, earlier ones copy it.
    try {
      transfer(value)
    } catch (error) {
      assert.strictEqual(error.name, 'DataCloneError')
    }
  }
  const seen = []
  for (const { key, value } of table.scan()) {
    attempt(value)
    seen.push([key, value])
  }
  assert.deepStrictEqual(seen, entries)
  const many = table.getMany(entries.map(([key]) => key))
  attempt(many[0])
  assert.deepStrictEqual(many, entries.map(([, value]) => value))
})

test('views whose bytes are gone are refused', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.put('a', '1')
  const detached = new Uint8Array(8)
  transfer(detached)
  assert.throws(() => table.getInto('a', detached), code('INVALID_TYPE'))
  const resizable = new ArrayBuffer(16, { maxByteLength: 32 })
  if (!resizable.resizable) return
  const outside = new Uint8Array(resizable, 8, 8)
  const tracking = new Uint8Array(resizable)
  resizable.resize(4)
  assert.throws(() => table.put('b', outside), code('INVALID_TYPE'))
  table.put('b', tracking)
  assert.strictEqual(table.get('b').length, 4)
})

test('what is no encoding is refused, also a name that every object has', t => {
  const { database } = fresh(t)
  for (const keyEncoding of ['constructor', '__proto__', 'toString']) {
    assert.throws(() => database.table('t', { keyEncoding }), code('INVALID_ARGUMENT'))
  }
  const names = database.table('atomkv.encodings')
  for (const stored of [null, 5, { key: 'number' }]) {
    names.put('u', JSON.stringify(stored))
    assert.throws(() => database.table('u', { keyEncoding: 'number' }), code('TABLE_MISMATCH'))
  }
  names.put('u', '{"key":"constructor","value":"binary"}')
  assert.throws(() => database.table('u', { valueEncoding: 'binary' }), code('INVALID_ARGUMENT'))
})

test('a table that is open already is given with the encodings that are named', t => {
  const { database } = fresh(t)
  const plain = database.table('t')
  plain.put('a', '{"n":1}')
  const named = database.table('t', { valueEncoding: 'json' })
  assert.deepStrictEqual([named.valueEncoding, named.get('a')], ['json', { n: 1 }])
  assert.strictEqual(String(plain.get('a')), '{"n":1}')
  assert.strictEqual(database.table('t'), named)
  assert.throws(() => database.table('t', { valueEncoding: 'utf8' }), code('TABLE_MISMATCH'))
  const options = { ordered: true, keyEncoding: 'number' }
  assert.strictEqual(database.table('n', options), database.table('n', options))
})

test('keys that another encoding wrote are an error, never another key', t => {
  const { database } = fresh(t)
  const bytes = name => database.table(name, { ordered: true })
  bytes('n').put('abc', '1')
  assert.throws(() => database.table('n', { keyEncoding: 'number' }).keys().toArray(), code('ENCODING'))
  const deep = database.table('d', { ordered: true, keyEncoding: 'ordered' })
  const raw = database.table('r', { ordered: true, keyEncoding: 'binary' })
  raw.put(Buffer.alloc(65535, 80), '1')
  deep.put('a', '1')
  assert.throws(() => deep._keys.read(Buffer.alloc(65535, 80), 0, 65535), code('ENCODING'))
})

test('ordered keys have up to 65,535 bytes, whatever they end with', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, keyEncoding: 'ordered' })
  const longest = ['x'.repeat(65535 - 6), null, true]
  table.put(longest, '1')
  assert.deepStrictEqual(table.keys().toArray(), [longest])
  assert.throws(() => table.put([`${longest[0]}x`, null, true], '1'), code('KEY_TOO_LONG'))
})

test('arguments of wrong types are told by the error', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const snapshot = database.snapshot()
  t.after(() => snapshot.close())
  for (const call of [
    () => table.scan().map(5), () => table.scan().filter(), () => table.prefix(), () => table.prefix(undefined, {}),
    () => table.putMany(null), () => table.putMany(['ab']), () => table.batch(5), () => table.batch([{ type: {}, key: 'a' }]),
    () => snapshot.get(undefined, 'a'), () => snapshot.getEntry(null, 'a'), () => snapshot.has('t', 'a'), () => snapshot.getMany(undefined, []),
    () => database.transaction(transaction => transaction.put(undefined, 'a', 'b')),
    () => database.transaction(transaction => transaction.delete(undefined, 'a'))
  ]) assert.throws(call, code('INVALID_TYPE'), String(call))
  for (const call of [
    () => atomkv.open(new URL('http://127.0.0.1/x')), () => table.prefix('a', { prefix: 'b' }), () => table.watch({ table }), () => table.putIf('a', 'b', 'absent', { expect: 'present' })
  ]) assert.throws(call, code('INVALID_ARGUMENT'), String(call))
})

test('a value that is too large is refused before it is packed', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const large = new Uint8Array(2 ** 31)
  assert.throws(() => table.put('a', large), code('VALUE_TOO_LARGE'))
  assert.throws(() => table.putMany([['a', large]]), code('VALUE_TOO_LARGE'))
})

test('committed and close end although others go on writing, and closeSync may come meanwhile', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  let goesOn = true
  let turns = 0
  t.after(() => { goesOn = false })
  const value = Buffer.alloc(64 * 1024)
  const waits = new Set()
  const write = () => {
    if (!goesOn) return
    turns++
    for (let index = 0; index < 8; index++) {
      const done = table.promises.put(`k${index}`, value, {}).catch(() => {})
      waits.add(done)
      done.then(() => waits.delete(done))
    }
    setImmediate(write)
  }
  write()
  await database.committed
  const before = turns
  await new Promise(resolve => setTimeout(resolve, 5))
  assert.ok(turns > before)
  goesOn = false
  await Promise.all(waits)

  table.promises.put('last', '1').catch(() => {})
  const closing = database.close()
  database.closeSync()
  await closing
  assert.strictEqual(database.isOpen, false)
})

test('a change that cannot be decoded takes no other one away', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: { name: 'mine', encode: text => text, decode: bytes => { if (bytes[0] === 33) throw new Error('mine'); return String(bytes) } } })
  const watch = table.watch()
  const other = table.watch()
  for (const [key, value] of [['a', '1'], ['b', '!'], ['c', '3']]) table.put(key, value)
  assert.strictEqual((await watch.next()).value.value, '1')
  await assert.rejects(watch.next(), /mine/)
  assert.strictEqual((await watch.next()).value.value, '3')
  watch.close()
  assert.deepStrictEqual(other.take().map(({ value }) => value), ['1'])
  assert.throws(() => other.take(), /mine/)
  assert.deepStrictEqual(other.take().map(({ value }) => value), ['3'])
  other.close()
})

test('a prefix that is a list finds the lists with those parts and no longer ones', async t => {
  const { database } = fresh(t)
  const list = [['a'], ['a', 1], ['a\0'], ['a\0b', 1], [Buffer.from('a')], [Buffer.from('a\0b')], ['b']]
  for (const ordered of [true, false]) {
    const table = database.table(`t${ordered}`, { ordered, keyEncoding: 'ordered' })
    const watch = table.watch({ prefix: ['a'] })
    for (const key of list) table.put(key, '')
    const sorted = keys => [...keys].map(key => JSON.stringify(key)).sort()
    assert.deepStrictEqual(sorted(table.keys({ prefix: ['a'] })), ['["a",1]', '["a"]'])
    assert.deepStrictEqual(sorted(table.keys({ prefix: ['a'], gt: ['a'] })), ['["a",1]'])
    assert.deepStrictEqual(table.keys({ prefix: ['a'], gt: ['b'] }).count(), 0)
    assert.deepStrictEqual(sorted(table.prefix([Buffer.from('a')]).map(({ key }) => key)), sorted([[Buffer.from('a')]]))
    assert.strictEqual(table.keys({ prefix: [] }).count(), list.length)
    assert.deepStrictEqual(database.transaction(transaction => sorted(transaction.keys(table, { prefix: ['a'] }))), ['["a",1]', '["a"]'])
    assert.deepStrictEqual(sorted(watch.take().map(({ key }) => key)), ['["a",1]', '["a"]'])
    watch.close()
  }
})

test('bytes and lists of another realm are bytes and lists', t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, keyEncoding: 'ordered' })
  const bytes = vm.runInNewContext('new Uint8Array([1, 2])')
  const large = vm.runInNewContext('new Uint8Array(5000)')
  table.put([bytes], bytes)
  table.put(vm.runInNewContext('["a"]'), large)
  assert.deepStrictEqual(table.keys().toArray(), [['a'], [Buffer.from([1, 2])]])
  assert.deepStrictEqual([...table.get([bytes])], [1, 2])
  assert.strictEqual(table.keys({ prefix: bytes }).count(), 0)
  assert.strictEqual(table.getInto([bytes], large), 2)
})

test('what lies on the prototype of all objects is no option', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const names = { ifExists: true, ttl: 'x', durability: 'x', limit: 0 }
  t.after(() => Object.keys(names).forEach(name => delete Object.prototype[name]))
  for (const [name, value] of Object.entries(names)) {
    // eslint-disable-next-line no-extend-native
    Object.defineProperty(Object.prototype, name, { value, configurable: true, writable: true })
  }
  table.put('a', '1', {})
  table.batch([{ key: 'b', value: '2' }])
  assert.strictEqual(table.keys({}).toArray().length, 2)
})

test('a list of nothing is written without a commit', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const { sequence } = table.put('a', '1')
  assert.strictEqual(table.batch([]), undefined)
  assert.strictEqual(table.putMany([]), undefined)
  assert.strictEqual(await table.promises.batch([]), undefined)
  assert.strictEqual(await table.promises.putMany([]), undefined)
  assert.strictEqual(table.put('b', '2').sequence, sequence + 1)
})

/** A list that is a key, and calls a function when it is read. */
function list (f) {
  return Object.defineProperty(['x', 'y'], 1, { get () { f(); return 'y' } })
}

test('getters of keys may commit what is queued, and end the batch that they are for', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { ordered: true, keyEncoding: 'ordered' })
  assert.strictEqual(await table.promises.put(list(() => database.committed), 'x'), table.getEntry(['x', 'y']).sequence)
  table.delete(['x', 'y'])
  await table.promises.put(list(() => database.committed), 'x', { ifNoExists: true })
  assert.strictEqual(String(table.get(['x', 'y'])), 'x')
  await table.promises.delete(list(() => database.committed))
  assert.strictEqual(table.has(['x', 'y']), false)

  const batch = database.batch()
  batch.put(table, list(() => batch.put(table, ['b'], '1').write()), 'x')
  const other = database.batch()
  assert.deepStrictEqual([batch.count, other.count, table.keys().toArray()], [1, 0, [['b']]])
  batch.delete(table, list(() => batch.write()))
  assert.deepStrictEqual([batch.count, table.keys().toArray()], [1, [['b'], ['x', 'y']]])
  batch.write()
  batch.expect(table, list(() => batch.put(table, ['c'], '1').write()), 'absent')
  assert.deepStrictEqual([batch.count, table.keys().toArray()], [1, [['b'], ['c']]])
})

test('what is ended by user code is not mistaken for what is begun there', async t => {
  const { database } = fresh(t)
  const table = database.table('t', { valueEncoding: 'json' })
  const ordered = database.table('o', { ordered: true, keyEncoding: 'ordered' })
  ordered.put(['x', 'y'], 'there')
  let view
  let other
  // The number of what is ended comes again sooner or later.
  const end = begin => () => {
    view.close()
    other = begin()
  }
  const begin = () => database.begin()
  const snapshot = () => database.snapshot()
  const uses = [
    [begin, replaced => view.put(table, 'k', { toJSON () { replaced(); return 1 } })],
    [begin, replaced => view.put(ordered, list(replaced), '1')],
    [begin, replaced => view.delete(ordered, list(replaced))],
    [begin, replaced => view.get(ordered, list(replaced))],
    [begin, replaced => view.has(ordered, list(replaced))],
    [begin, replaced => view.getMany(ordered, [list(replaced)])],
    [begin, replaced => view.keys(ordered, { gte: list(replaced) })],
    [snapshot, replaced => view.getEntry(ordered, list(replaced))]
  ]
  for (const [begin, use] of uses) {
    view = begin()
    assert.throws(() => use(end(begin)), code('CLOSED'), String(use))
    if (other.commit) assert.strictEqual(other.commit(), undefined)
    other.close()
  }
  assert.strictEqual(table.length, 0)

  const second = fresh(t).database
  const closed = () => {
    database.closeSync()
    for (let count = 0; count < 8; count++) second.table(`t${count}`, { ordered: true })
  }
  assert.throws(() => ordered.history(list(closed)), code('CLOSED'))
})

test('a value whose bytes go while options and keys are read is refused', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const ordered = database.table('o', { keyEncoding: 'ordered' })
  const calls = [
    value => table.put('k', value, { get ttl () { transfer(value); return 1e9 } }),
    value => table.promises.put('k', value, { get ttl () { transfer(value); return 1e9 } }),
    value => table.promises.put('k', value, { get ifNoExists () { transfer(value); return true } }),
    value => table.batch().put(table, 'k', value, { get ttl () { transfer(value); return 1e9 } }).write(),
    value => ordered.put(list(() => transfer(value)), value),
    value => ordered.promises.put(list(() => transfer(value)), value),
    value => ordered.promises.put(list(() => transfer(value)), value, { ifNoExists: true }),
    value => ordered.putMany([[list(() => transfer(value)), value]]),
    value => ordered.merge(list(() => transfer(value)), { append: value })
  ]
  for (const call of calls) await assert.rejects(async () => call(new Uint8Array(8)), code('INVALID_TYPE'), String(call))
  assert.deepStrictEqual([table.length, ordered.length], [0, 0])
})

test('bytes that are no UTF-8 are an error where text is read, never other text', t => {
  const { database } = fresh(t)
  const keys = database.table('k', { ordered: true })
  const bytes = database.table('k', { ordered: true, keyEncoding: 'binary' })
  bytes.put(Buffer.from([255]), 'a')
  assert.throws(() => keys.keys().toArray(), code('ENCODING'))
  bytes.delete(Buffer.from([255]))
  keys.put('\ufffd', 'a')
  assert.deepStrictEqual(keys.keys().toArray(), ['\ufffd'])

  const plain = database.table('v')
  plain.put('a', Buffer.from([34, 254, 34]))
  plain.put('b', '"\ufffd"')
  for (const valueEncoding of ['utf8', 'json']) {
    database.table('atomkv.encodings').put('v', JSON.stringify({ key: 'utf8', value: valueEncoding }))
    const named = database.table('v', { valueEncoding })
    assert.throws(() => named.get('a'), code('ENCODING'))
    assert.throws(() => named.update('a', value => value), code('ENCODING'))
    assert.strictEqual(named.get('b'), valueEncoding === 'json' ? '\ufffd' : '"\ufffd"')
  }
  assert.deepStrictEqual(plain.get('a'), Buffer.from([34, 254, 34]))
  const ordered = database.table('o', { keyEncoding: 'ordered' })
  const raw = [48, 255, 0]
  assert.throws(() => ordered._keys.read(Buffer.from(raw), 0, raw.length), code('ENCODING'))
})

test('an encoding is the object, not its name', async t => {
  const { database } = fresh(t)
  const encoding = mark => ({ name: 'mine', encode: text => text + mark, decode: bytes => String(bytes).slice(0, -1) + mark })
  const [first, second] = [encoding('1'), encoding('2')]
  const table = database.table('t', { valueEncoding: first })
  table.put('k', 'a')
  const other = database.table('t', { valueEncoding: second })
  assert.deepStrictEqual([table.get('k'), other.get('k')], ['a1', 'a2'])
  assert.strictEqual(database.table('t', { valueEncoding: first }), table)
  assert.strictEqual(database.table('t', { valueEncoding: second }), other)
  await database.close()
  for (const closed of [table, other]) assert.throws(() => closed.get('k'), code('CLOSED'))
})
