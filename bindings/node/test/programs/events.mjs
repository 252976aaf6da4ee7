// Runs the example of server-sent events and reads two of them. usage: node events.mjs EXAMPLE DIRECTORY
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { once } from 'node:events'

const [example, directory] = process.argv.slice(2)
const free = createServer().listen(0, '127.0.0.1')
await once(free, 'listening')
const { port } = free.address()
free.close()
const child = spawn(process.execPath, [example, directory], { env: { ...process.env, PORT: port }, stdio: 'inherit' })
let text = ''
try {
  while (text === '') {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/`)
      for await (const part of response.body) {
        text += Buffer.from(part)
        if ((text.match(/^event: put$/gm) ?? []).length >= 2) break
      }
    } catch (error) {
      if (child.exitCode !== null || error.cause?.code !== 'ECONNREFUSED') throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
} finally {
  child.kill()
}
if (!/^id: [0-9]+\nevent: put\ndata: \{"key":"clock","value":\{"now":"[^"]+"\}\}$/m.test(text)) throw new Error(`unexpected events:\n${text}`)
