// Every change as a server-sent event: node events.mjs [DIRECTORY]; then curl -N http://127.0.0.1:8080/
import { once } from 'node:events'
import { createServer } from 'node:http'
import { CompactedError, open } from 'atomkv'

// The feed is kept for those who come back: so many bytes of it, at least.
const db = open(process.argv[2] ?? 'events', { feedBytes: 64 << 20 })
const table = db.table('messages', { valueEncoding: 'json' })

function watch (from, signal) {
  try {
    if (Number.isSafeInteger(from) && from > 0) return table.watch({ from, signal })
  } catch (error) {
    // Away for too long: what is there now, instead of what has changed.
    if (!(error instanceof CompactedError)) throw error
  }
  return table.watch({ stateFirst: true, signal })
}

const server = createServer(async (request, response) => {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  try {
    // The browser sends the last id again, and goes on there: nothing is missed, and what comes twice is at most the beginning of a
    // batch in whose middle the connection broke off.
    const changes = watch(Number(request.headers['last-event-id']), gone.signal)
    for await (const { kind, key, value } of changes) {
      // There is none amid the state, which cannot be taken up there.
      const id = changes.resumeFrom > 0 ? `id: ${changes.resumeFrom}\n` : ''
      const hasRoom = response.write(`${id}event: ${kind}\ndata: ${JSON.stringify({ key, value })}\n\n`)
      if (!hasRoom) await once(response, 'drain', { signal: gone.signal })
    }
  } catch (error) {
    if (error.name !== 'AbortError') response.end(`event: error\ndata: ${JSON.stringify(error.message)}\n\n`)
  }
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
setInterval(() => table.put('clock', { now: new Date() }), 1000)
