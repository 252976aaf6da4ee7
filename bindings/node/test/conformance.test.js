'use strict'
// Runs `conformance/cases.json`, which says what every language's binding must do.

const test = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')
const atomkv = require('atomkv')

const file = process.env.ATOMKV_CONFORMANCE || path.join(__dirname, '..', '..', '..', 'conformance', 'cases.json')
const { cases } = JSON.parse(fs.readFileSync(file, 'utf8'))

const bytes = given => {
  if (typeof given !== 'string') return Buffer.concat(Array(given.times).fill(bytes(given.repeat)))
  return given.startsWith('hex:') ? Buffer.from(given.slice(4), 'hex') : Buffer.from(given)
}
const shown = buffer => {
  if (buffer === undefined || buffer === null) return null
  const text = buffer.toString()
  const isText = Buffer.compare(Buffer.from(text), buffer) === 0 && !/\p{Cc}/u.test(text)
  return isText ? text : `hex:${buffer.toString('hex')}`
}

class World {
  constructor (place) {
    this.place = place
    this.open()
  }

  open () {
    this.database = atomkv.open(this.place)
    this.tables = new Map()
    this.options = this.options || new Map()
    for (const [name, options] of this.options) this.tables.set(name, this.database.table(name, options))
    this.saved = new Map([...(this.saved || [])].filter(([, value]) => value instanceof Uint8Array || value.version || value.sequence >= 0))
  }

  number (given) {
    if (typeof given === 'number') return given
    const [name, part] = given.slice(1).split('.')
    return this.saved.get(name)[part]
  }

  expect (given) {
    if (given === undefined || given === 'absent' || given === 'present') return given
    if (typeof given === 'string') return { sequence: this.saved.get(given.slice(1)).sequence }
    return given.version !== undefined ? { version: this.number(given.version) } : { sequence: this.number(given.sequence) }
  }

  write (step) {
    const options = {}
    if (step.expect !== undefined) options.expect = this.expect(step.expect)
    if (step.ttl_ms !== undefined) options.ttl = step.ttl_ms
    if (step.expires_at_ms !== undefined) options.expiresAt = step.expires_at_ms
    if (step.never) options.ttl = 'never'
    return Object.keys(options).length === 0 ? undefined : options
  }

  async step (step) {
    const table = this.tables.get(step.table)
    const key = step.key === undefined ? undefined : bytes(step.key)
    const view = step.in === undefined ? undefined : this.saved.get(step.in.slice(1))
    const keep = result => {
      if (step.save !== undefined) this.saved.set(step.save, result)
      return result
    }
    switch (step.do) {
      case 'table': {
        const options = { keyEncoding: 'binary' }
        for (const name of ['ordered', 'partitions']) if (step[name] !== undefined) options[name] = step[name]
        if (step.retention !== undefined) options.retention = step.retention
        if (step.ttl_ms !== undefined) options.ttl = step.ttl_ms
        this.tables.set(step.name, this.database.table(step.name, options))
        this.options.set(step.name, options)
        return undefined
      }
      case 'put': {
        if (view) return view.put(table, key, bytes(step.value), this.write(step))
        return keep(table.put(key, bytes(step.value), this.write(step)))
      }
      case 'put_if_changed': return table.putIfChanged(key, bytes(step.value))
      case 'delete': return view ? view.delete(table, key) : keep(table.delete(key, this.write(step)) ?? null)
      case 'get': return shown(view ? view.get(table, key) : table.get(key))
      case 'contains': return view ? view.has(table, key) : table.has(key)
      case 'get_many': return (view ? view.getMany(table, step.keys.map(bytes)) : table.getMany(step.keys.map(bytes))).map(shown)
      case 'entry': {
        const entry = view ? view.getEntry(table, key) : table.getEntry(key)
        return entry === undefined ? null : { ...entry, value: shown(entry.value) }
      }
      case 'set_expiry': return table.setExpiry(key, this.write(step)) ?? null
      case 'merge': {
        const patch = step.json_merge_patch === undefined ? undefined : Buffer.from(step.json_merge_patch)
        const operand = step.add_integer ?? step.add_decimal ?? step.append ?? patch
        const name = ['add_integer', 'add_decimal', 'append', 'json_merge_patch'].find(name => step[name] !== undefined)
        return shown(table.merge(key, { [name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]: operand }).value)
      }
      case 'history': return table.history(key).map(({ version, value }) => [version, shown(value)])
      case 'get_version': return shown(table.getVersion(key, step.version).value)
      case 'get_at': return shown(table.getAt(key, this.number(step.sequence))?.value)
      case 'batch': {
        const sequence = table === undefined && this.database.batch()
        for (const part of step.steps) {
          const target = this.tables.get(part.table)
          if (part.do === 'put') sequence.put(target, bytes(part.key), bytes(part.value), this.write(part))
          else if (part.do === 'delete') sequence.delete(target, bytes(part.key), this.write(part))
          else sequence.expect(target, bytes(part.key), this.expect(part.expect))
        }
        const committed = sequence.write()
        return committed === undefined ? null : keep({ sequence: committed })
      }
      case 'snapshot': return void keep(this.database.snapshot())
      case 'drop': return void this.saved.get(step.name).close()
      case 'begin': return void keep(this.database.begin())
      case 'commit': {
        const committed = view.commit()
        return committed === undefined ? null : { sequence: committed }
      }
      case 'abort': return void view.abort()
      case 'scan': {
        const options = {}
        if (step.from !== undefined) options.gte = bytes(step.from)
        if (step.to !== undefined) options.lt = bytes(step.to)
        if (step.prefix !== undefined) options.prefix = bytes(step.prefix)
        for (const name of ['reverse', 'limit']) if (step[name] !== undefined) options[name] = step[name]
        for (const name of ['contains', 'glob']) if (step[name] !== undefined) options[name] = bytes(step[name])
        if (step.after !== undefined) options.after = this.saved.get(step.after.slice(1))
        const item = item => step.keys_only ? shown(item) : [shown(item.key), shown(item.value)]
        const method = step.keys_only ? 'keys' : 'scan'
        let items
        if (view) items = Array.from(view[method](table, options), item)
        else if (step.save_token) {
          const page = table[method](options).page()
          items = page.items.map(item)
          this.saved.set(step.save_token, page.token)
        } else items = Array.from(table[method](options), item)
        return step.any_order ? items.sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1) : items
      }
      case 'len': return table.length
      case 'watch': {
        const options = {}
        if (table) options.table = table
        if (step.prefix !== undefined) options.prefix = bytes(step.prefix)
        if (step.from !== undefined) options.from = this.number(step.from)
        if (step.state_first) options.stateFirst = true
        return void keep(this.database.watch(options))
      }
      case 'changes': return view.take().map(({ kind, key, value }) => [kind, shown(key), shown(value)])
      case 'write_stream': {
        const stream = table.createWriteStream(key, this.write(step))
        for (const part of step.parts) stream.write(bytes(part))
        if (step.finish === false) {
          await new Promise(resolve => stream.write('', resolve))
          stream.destroy()
          return undefined
        }
        stream.end()
        await once(stream, 'finish')
        return keep(stream.written)
      }
      case 'read_stream': {
        const options = { start: step.offset, end: step.offset + step.length }
        try {
          const parts = []
          for await (const part of view ? view.createReadStream(table, key, options) : table.createReadStream(key, options)) parts.push(part)
          return shown(Buffer.concat(parts))
        } catch (error) {
          if (error.code === 'ATOMKV_NOT_FOUND') return null
          throw error
        }
      }
      case 'wait_ms': return new Promise(resolve => setTimeout(resolve, step.ms))
      case 'compact': return void await this.database.compact()
      case 'checkpoint': return this.database.checkpoint()
      case 'reopen':
        await this.database.close()
        return this.open()
      case 'close': return this.database.close()
      default: throw new Error(`no step ${step.do}`)
    }
  }
}

for (const { name, steps } of cases) {
  test(`conformance: ${name}`, async t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'atomkv-node-'))
    const world = new World(path.join(folder, 'db'))
    t.after(async () => {
      await world.database.close()
      fs.rmSync(folder, { recursive: true, force: true })
    })
    for (const step of steps) {
      let result
      try {
        result = await world.step(step)
      } catch (error) {
        assert.strictEqual(error.code, `ATOMKV_${String(step.error).toUpperCase()}`, `${JSON.stringify(step)}: ${error.stack}`)
        if (step.found !== undefined) {
          const found = typeof step.found === 'string' ? world.saved.get(step.found.slice(1)) : step.found
          assert.deepStrictEqual(error.found && error.found.sequence, found && found.sequence)
        }
        continue
      }
      assert.strictEqual(step.error, undefined, `${JSON.stringify(step)} succeeded`)
      if (step.gives === undefined) continue
      if (step.gives !== null && typeof step.gives === 'object' && !Array.isArray(step.gives)) {
        for (const [part, value] of Object.entries(step.gives)) {
          const wanted = typeof value === 'string' && value.startsWith('$') ? world.number(value) : value
          assert.deepStrictEqual(result[part], wanted, JSON.stringify(step))
        }
      } else assert.deepStrictEqual(result, step.gives, JSON.stringify(step))
    }
  })
}
