// AtomKV beside lmdb, classic-level and better-sqlite3: 24-byte keys, values of 100 bytes, random reads, one process,
// everything in one run. usage: node bench.mjs [KEYS] (100,000 unless told); prints a table in Markdown.

import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const KEYS = Number(process.argv[2] ?? 100000)
const ROUNDS = 5
const MANY = 1000
const folder = mkdtempSync(join(process.env.ATOMKV_BENCH_DIR ?? tmpdir(), 'atomkv-bench-'))
const value = Buffer.alloc(100, 'v')
const key = index => `user:${String(index).padStart(19, '0')}`
let state = 42
const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % KEYS
const keys = Array.from({ length: KEYS }, (_, index) => key(index))
const shuffled = Array.from({ length: KEYS }, () => keys[random()])
const groups = Array.from({ length: KEYS / MANY }, (_, index) => shuffled.slice(index * MANY, (index + 1) * MANY))
let sink = 0

async function atomkv () {
  const { open } = await import('atomkv')
  const db = open(join(folder, 'atomkv'))
  const table = db.table('t', { ordered: true })
  const hashed = db.table('h')
  const text = db.table('s', { valueEncoding: 'utf8' })
  const own = Buffer.alloc(200)
  const valueText = value.toString()
  return {
    name: 'atomkv',
    load: async () => { for (const k of keys) { hashed.put(k, value); text.put(k, valueText) } table.putMany(keys.map(k => [k, value])) },
    'get': () => { for (const k of shuffled) sink += hashed.get(k).length },
    'get a string': () => { for (const k of shuffled) sink += text.get(k).length },
    'get into a buffer': () => { for (const k of shuffled) sink += hashed.getInto(k, own) },
    'getMany of 1,000': () => { for (const group of groups) sink += hashed.getMany(group).length },
    'put, sync': () => { for (const k of shuffled) hashed.put(k, value) },
    'put, queued': async () => { let last; for (const k of shuffled) last = hashed.promises.put(k, value); await last },
    'put, awaited singly': { count: 2000, run: async () => { for (let index = 0; index < 2000; index++) await hashed.promises.put(shuffled[index], value) } },
    'putMany of 1,000': () => { for (const group of groups) hashed.putMany(group.map(k => [k, value])) },
    'range': () => { for (const item of table.scan()) sink += item.value.length },
    'range of 100': { count: 100000, run: () => { for (let index = 0; index < 1000; index++) for (const item of table.scan({ gte: shuffled[index], limit: 100 })) sink += item.value.length } },
    close: () => db.close()
  }
}

async function lmdb () {
  const { open } = await import('lmdb')
  const db = open({ path: join(folder, 'lmdb'), encoding: 'binary', noSync: true, mapSize: 1 << 30 })
  const text = db.openDB('s', { encoding: 'string' })
  return {
    name: 'lmdb',
    load: async () => { let last; for (const k of keys) { db.put(k, value); last = text.put(k, value.toString()) } await last },
    'get': () => { for (const k of shuffled) sink += db.get(k).length },
    'get a string': () => { for (const k of shuffled) sink += text.get(k).length },
    'get into a buffer': () => { for (const k of shuffled) sink += db.getBinaryFast(k).length },
    'getMany of 1,000': async () => { for (const group of groups) sink += (await db.getMany(group)).length },
    'put, sync': { count: 2000, run: () => { for (let index = 0; index < 2000; index++) db.putSync(shuffled[index], value) } },
    'put, queued': async () => { let last; for (const k of shuffled) last = db.put(k, value); await last },
    'put, awaited singly': { count: 2000, run: async () => { for (let index = 0; index < 2000; index++) await db.put(shuffled[index], value) } },
    'putMany of 1,000': () => { for (const group of groups) db.transactionSync(() => { for (const k of group) db.put(k, value) }) },
    'range': () => { for (const item of db.getRange()) sink += item.value.length },
    'range of 100': { count: 100000, run: () => { for (let index = 0; index < 1000; index++) for (const item of db.getRange({ start: shuffled[index], limit: 100 })) sink += item.value.length } },
    close: () => db.close()
  }
}

async function level () {
  const { ClassicLevel } = require('classic-level')
  const db = new ClassicLevel(join(folder, 'level'), { valueEncoding: 'buffer' })
  await db.open()
  const batch = group => db.batch(group.map(k => ({ type: 'put', key: k, value })))
  return {
    name: 'classic-level',
    load: async () => { for (let index = 0; index < KEYS; index += MANY) await batch(keys.slice(index, index + MANY)) },
    'get': () => { for (const k of shuffled) sink += db.getSync(k).length },
    'get a string': () => { for (const k of shuffled) sink += db.getSync(k, { valueEncoding: 'utf8' }).length },
    'getMany of 1,000': async () => { for (const group of groups) sink += (await db.getMany(group)).length },
    'put, queued': async () => { for (const group of groups) await Promise.all(group.map(k => db.put(k, value))) },
    'put, awaited singly': { count: 2000, run: async () => { for (let index = 0; index < 2000; index++) await db.put(shuffled[index], value) } },
    'putMany of 1,000': async () => { for (const group of groups) await batch(group) },
    'range': async () => { for await (const item of db.iterator()) sink += item[1].length },
    'range of 100': { count: 100000, run: async () => { for (let index = 0; index < 1000; index++) for await (const item of db.iterator({ gte: shuffled[index], limit: 100 })) sink += item[1].length } },
    close: () => db.close()
  }
}

async function sqlite () {
  const Database = require('better-sqlite3')
  const db = new Database(join(folder, 'sqlite'))
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = NORMAL')
  db.exec('create table t (k text primary key, v blob) without rowid')
  const put = db.prepare('insert or replace into t values (?, ?)')
  const get = db.prepare('select v from t where k = ?').pluck()
  const all = db.prepare('select k, v from t order by k')
  const part = db.prepare('select k, v from t where k >= ? order by k limit 100')
  const many = db.transaction(group => { for (const k of group) put.run(k, value) })
  return {
    name: 'better-sqlite3',
    load: () => many(keys),
    'get': () => { for (const k of shuffled) sink += get.get(k).length },
    'put, sync': { count: 20000, run: () => { for (let index = 0; index < 20000; index++) put.run(shuffled[index], value) } },
    'putMany of 1,000': () => { for (const group of groups) many(group) },
    'range': () => { for (const item of all.iterate()) sink += item.v.length },
    'range of 100': { count: 100000, run: () => { for (let index = 0; index < 1000; index++) for (const item of part.iterate(shuffled[index])) sink += item.v.length } },
    close: () => db.close()
  }
}

const stores = []
const asked = process.env.ATOMKV_BENCH_PEERS?.split(',')
for (const [name, make] of Object.entries({ atomkv, lmdb, 'classic-level': level, 'better-sqlite3': sqlite })) {
  if (asked && !asked.includes(name)) continue
  try {
    const store = await make()
    await store.load()
    stores.push({ store, times: {} })
  } catch (error) {
    console.error(`${name} is left out: ${error.message.split('\n')[0]}`)
  }
}
const workloads = Object.keys(stores[0].store).filter(name => !['name', 'load', 'close'].includes(name))
// Round about, so that a noisy moment meets all of them.
for (let round = 0; round < ROUNDS; round++) {
  for (const workload of workloads) {
    for (const { store, times } of stores) {
      const what = store[workload]
      if (what === undefined) continue
      const { run, count } = typeof what === 'function' ? { run: what, count: KEYS } : what
      const before = process.cpuUsage()
      const begin = process.hrtime.bigint()
      await run()
      const passed = Number(process.hrtime.bigint() - begin) / count
      const { user, system } = process.cpuUsage(before)
      times[workload] ??= { passed: [], worked: [] }
      times[workload].passed.push(passed)
      times[workload].worked.push((user + system) * 1000 / count)
    }
  }
}
for (const { store } of stores) await store.close()
rmSync(folder, { recursive: true, force: true })

function median (times) {
  return times.sort((a, b) => a - b)[times.length >> 1]
}

const today = new Date().toISOString().slice(0, 10)
console.log(`${today}, Node ${process.version}, ${cpus().length} × ${cpus()[0].model.trim()}, ${KEYS} keys; ns an item, median of ${ROUNDS}: time that passed / processor time of all threads\n`)
console.log(`| | ${stores.map(({ store }) => store.name).join(' | ')} |`)
console.log(`| --- |${' ---: |'.repeat(stores.length)}`)
for (const workload of workloads) {
  const cell = ({ times }) => times[workload] === undefined ? '–' : ['passed', 'worked'].map(kind => Math.round(median(times[workload][kind])).toLocaleString('en')).join(' / ')
  console.log(`| ${workload} | ${stores.map(cell).join(' | ')} |`)
}
if (sink === 0) console.log('nothing was read')
