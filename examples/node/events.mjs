// Every change as a server-sent event: node events.mjs [DIRECTORY]; then curl -N http://127.0.0.1:8080/
import { once } from 'node:events'
import { createServer } from 'node:http'
import { open } from 'atomkv'

const db = open(process.argv[2] ?? 'events')
const table = db.table('messages', { valueEncoding: 'json' })
const server = createServer(async (request, response) => {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  // The browser sends the id of what it has seen last: nothing is missed, nothing comes twice.
  const last = Number(request.headers['last-event-id'])
  const from = Number.isSafeInteger(last) && last > 0 ? { from: last + 1 } : { stateFirst: true }
  try {
    for await (const { kind, key, value, sequence } of table.watch({ ...from, signal: gone.signal })) {
      const hasRoom = response.write(`id: ${sequence}\nevent: ${kind}\ndata: ${JSON.stringify({ key, value })}\n\n`)
      if (!hasRoom) await once(response, 'drain', { signal: gone.signal })
    }
  } catch (error) {
    if (error.name !== 'AbortError') response.end(`event: error\ndata: ${JSON.stringify(error.message)}\n\n`)
  }
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
setInterval(() => table.put('clock', { now: new Date() }), 1000)
