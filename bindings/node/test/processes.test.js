'use strict'
// Ends of processes and threads, memory, and errors that nobody waits for.

const test = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const { Worker } = require('node:worker_threads')
const { atomkv, fresh, code } = require('./common')

const program = name => path.join(__dirname, 'programs', name)

for (const how of ['sync', 'queued']) {
  test(`what was acknowledged is there after kill -9: ${how}`, async t => {
    const { database, folder } = fresh(t)
    await database.close()
    const place = path.join(folder, 'killed')
    let most = -1
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [program('writer.js'), place, how], { stdio: ['ignore', 'pipe', 'inherit'] })
      let output = ''
      child.stdout.on('data', data => { output += data })
      while (output.length < 2000) await new Promise(resolve => setTimeout(resolve, 5))
      child.kill('SIGKILL')
      await once(child, 'close')
      most = Number(output.slice(0, output.lastIndexOf('\n')).split('\n').pop())
      const again = atomkv.open(place)
      const table = again.table('t')
      for (let index = 0; index <= most; index++) assert.strictEqual(String(table.get(`k${index}`)), `v${index}`)
      await again.close()
    }
    assert.ok(most > 100)
  })
}

test('a process ends by itself with handles open, and at process.exit during writes', t => {
  const { place, database } = fresh(t)
  database.closeSync()
  const ended = spawnSync(process.execPath, [program('writer.js'), place, 'end'], { encoding: 'utf8', timeout: 30000 })
  assert.deepStrictEqual([ended.status, ended.stdout, ended.stderr], [0, 'done\n', ''])
  const exited = spawnSync(process.execPath, [program('writer.js'), place, 'exit'], { encoding: 'utf8', timeout: 30000 })
  assert.deepStrictEqual([exited.status, exited.stderr], [7, ''])
  const again = atomkv.open(place)
  assert.strictEqual(again.table('t').get('k0').toString(), 'v0')
  assert.strictEqual(again.table('t').get('q999').toString(), 'x')
  again.closeSync()
})

// Node frees what threads report through when an environment ends; one that came late crashed the process.
test('a process may end in the moment in which a job does', t => {
  const { folder } = fresh(t)
  for (let round = 0; round < 15; round++) {
    const { status, signal, stderr } = spawnSync(process.execPath, [program('short.js'), path.join(folder, 'short')], { encoding: 'utf8', timeout: 30000 })
    assert.deepStrictEqual([status, signal, stderr], [0, null, ''])
  }
  const short = atomkv.open(path.join(folder, 'short'))
  assert.strictEqual(short.table('t').getEntry('k').version, 15)
  short.closeSync()
})

test('workers alone may load the binding, end, and be terminated while jobs run', t => {
  const { folder } = fresh(t)
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program('only-workers.js'), path.join(folder, 'workers')], { encoding: 'utf8', timeout: 60000 })
  assert.deepStrictEqual([status, signal, stdout, stderr], [0, null, 'done\n', ''])
})

test('another process is told who has the database', t => {
  const { place } = fresh(t)
  const source = `try { require(${JSON.stringify(path.dirname(require.resolve('atomkv/package.json')))}).open(process.argv[1]) } catch (error) { console.log(error.name, error.code, error.pid) }`
  const { stdout } = spawnSync(process.execPath, ['-e', source, place], { encoding: 'utf8' })
  assert.strictEqual(stdout, `LockedError ATOMKV_LOCKED ${process.pid}\n`)
})

test('several workers share a database', async t => {
  const { database, place } = fresh(t)
  const workers = [1, 2, 3].map(number => new Worker(program('worker.js'), { workerData: { place, number } }))
  await Promise.all(workers.map(worker => Promise.race([once(worker, 'message'), once(worker, 'error').then(([error]) => { throw error })])))
  const table = database.table('t', { valueEncoding: 'json' })
  assert.strictEqual(table.get('count'), 6000)
  assert.strictEqual(table.length, 6001)
  await Promise.all(workers.map(worker => worker.terminate()))
})

test('a worker may be terminated while it writes', async t => {
  const { database, place } = fresh(t)
  const table = database.table('t', { valueEncoding: 'json' })
  for (let round = 0; round < 4; round++) {
    const worker = new Worker(program('worker.js'), { workerData: { place, number: round, forever: true } })
    await once(worker, 'message')
    await new Promise(resolve => setTimeout(resolve, 30))
    await worker.terminate()
    table.put('after', round)
    assert.strictEqual(table.get('after'), round)
  }
  assert.strictEqual(table.get('w3:1') % 1000, 1)
})

test('what nobody holds is given up, and memory does not grow', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  for (let index = 0; index < 1000; index++) table.put(`k${index}`, Buffer.alloc(1000))
  for (let index = 0; index < 500; index++) {
    database.snapshot()
    table.scan()[Symbol.iterator]().next()
  }
  const settle = async () => {
    for (let round = 0; round < 10; round++) {
      global.gc()
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
  await settle()
  const before = database.stats().snapshots
  const work = () => {
    for (let round = 0; round < 100; round++) {
      for (let index = 0; index < 1000; index++) table.get(`k${index}`)
      table.getMany(Array.from({ length: 1000 }, (_, index) => `k${index}`))
      table.scan().toArray()
      try { table.get(undefined) } catch {}
      try { table.put('k', 'v', { ifVersion: 99 }) } catch {}
    }
  }
  work()
  await settle()
  const first = process.memoryUsage().rss
  work()
  work()
  await settle()
  const grown = process.memoryUsage().rss - first
  assert.ok(grown < 64 << 20, `${grown} bytes more`)
  assert.ok(before < 100, `${before} snapshots are held`)
})

test('scans and snapshots that are left in one turn of the loop keep no memory', t => {
  const { database } = fresh(t)
  const table = database.table('t')
  table.put('k', 'v')
  const used = () => {
    // The second one waits until the first one has given back what it found.
    global.gc()
    global.gc()
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    return arrayBuffers + heapUsed
  }
  const before = used()
  for (let count = 0; count < 20000; count++) {
    for (const _ of table.scan({ limit: 1 })); // eslint-disable-line no-unused-vars
    database.snapshot().close()
  }
  const grown = used() - before
  assert.ok(grown < 4 << 20, `${grown} bytes more`)
  assert.strictEqual(database._children.size, 0)
})

test('the opening of a database that has much to recover keeps that of another one waiting for nothing', async t => {
  const { folder } = fresh(t)
  const place = name => path.join(folder, name)
  const options = { background: false, checkpointBytes: 1 << 30 }
  const written = atomkv.open(place('written'), options)
  for (let round = 0; round < 8; round++) written.table('t').putMany(Array.from({ length: 50000 }, (_, index) => [`${round}-${index}`, 'x']))
  // What a crash leaves.
  fs.cpSync(place('written'), place('left'), { recursive: true })
  written.closeSync()
  const begin = performance.now()
  let end
  const opening = atomkv.openAsync(place('left'), options).then(database => {
    end = performance.now()
    return database
  })
  await new Promise(resolve => setTimeout(resolve, 10))
  const before = performance.now()
  atomkv.open(place('other')).closeSync()
  const waited = performance.now() - before
  // Both of the same one are one opening.
  const [first, second] = await Promise.all([opening, atomkv.openAsync(place('left'), options)])
  assert.ok(waited < (end - begin) / 2, `${waited} ms of ${end - begin}`)
  first.closeSync()
  assert.strictEqual(second.table('t').length, 400000)
  second.closeSync()
  atomkv.open(place('left')).closeSync()
})

test('long jobs keep writes and closing waiting for nothing', { skip: process.platform === 'win32' }, t => {
  const { folder } = fresh(t)
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program('long-jobs.js'), folder], { encoding: 'utf8', timeout: 20000, killSignal: 'SIGKILL' })
  assert.deepStrictEqual([status, signal, stdout, stderr], [0, null, 'written, closed\n', ''])
})

test('an error that nobody waits for is an unhandled rejection, told once a commit', async t => {
  const { database } = fresh(t)
  const table = database.table('t')
  const seen = []
  const listener = error => seen.push(error)
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', listener)
  table.promises.put('k', 'v', { ifVersion: 5 })
  while (seen.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  await table.promises.put('k', 'v')
  process.removeListener('unhandledRejection', listener)
  others.forEach(other => process.on('unhandledRejection', other))
  assert.strictEqual(seen.length, 1)
  assert.ok(code('CONFLICT')(seen[0]))
})
