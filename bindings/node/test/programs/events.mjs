// Runs the example of server-sent events, reads some of them, and goes on behind them. usage: node events.mjs EXAMPLE DIRECTORY
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { open } from 'atomkv'

const [example, directory] = process.argv.slice(2)
const database = open(directory)
const sequence = database.table('messages', { valueEncoding: 'json' }).putMany([['a', 1], ['b', 2], ['c', 3]])
database.closeSync()
const free = createServer().listen(0, '127.0.0.1')
await once(free, 'listening')
const { port } = free.address()
free.close()
const child = spawn(process.execPath, [example, directory], { env: { ...process.env, PORT: port }, stdio: 'inherit' })
const read = async (headers, count) => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers })
  let text = ''
  for await (const part of response.body) {
    text += Buffer.from(part)
    if ((text.match(/^event: put$/gm) ?? []).length >= count) break
  }
  return text
}
let text = ''
let next
let batch
try {
  while (text === '') {
    try {
      text = await read({}, 2)
      const [id] = text.match(/(?<=^id: )[0-9]+$/gm).slice(-1)
      // Time for changes that are missed if it does not go on where it was.
      await new Promise(resolve => setTimeout(resolve, 1200))
      next = await read({ 'last-event-id': id }, 1)
      batch = await read({ 'last-event-id': String(sequence) }, 3)
    } catch (error) {
      if (child.exitCode !== null || error.cause?.code !== 'ECONNREFUSED') throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
} finally {
  child.kill()
}
if (!/^id: [0-9]+\nevent: put\ndata: \{"key":"clock","value":\{"now":"[^"]+"\}\}$/m.test(text)) throw new Error(`unexpected events:\n${text}`)
const ids = Array.from(batch.matchAll(/^id: (.*)$/gm), ([, id]) => Number(id)).slice(0, 3)
if (ids.join() !== [sequence, sequence, sequence + 1].join()) throw new Error(`unexpected ids of a batch:\n${batch}`)
// Where the state ends it may be gone on, not before.
if (text.match(/^event: state$/gm).length !== 3 || (text.match(/^id: .*\nevent: state$/gm) ?? []).length > 1) throw new Error(`unexpected state:\n${text}`)
// Each is a commit of its own, and comes once.
const all = Array.from((text + next).matchAll(/^id: (.*)\nevent: put$/gm), ([, id]) => Number(id))
if (/^event: state$/m.test(next) || all.length < 3 || all.some((id, index) => id !== all[0] + index)) throw new Error(`unexpected events:\n${text}\nthen:\n${next}`)
