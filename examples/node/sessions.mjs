// A plain store of sessions, with callbacks: node sessions.mjs [DIRECTORY]
// For express-session, extend its own Store, which adds what its middleware needs beside these calls.
import { open } from 'atomkv'

export class AtomStore {
  constructor (db, { ttl = 24 * 3600 * 1000 } = {}) {
    this.ttl = ttl
    this.table = db.table('sessions', { valueEncoding: 'json', ttl })
  }

  get (id, callback) { this.answer(callback, () => this.table.get(id) ?? null) }
  set (id, session, callback) { this.answer(callback, () => { this.table.put(id, session, this.expiry(session)) }) }
  touch (id, session, callback) { this.answer(callback, () => { this.table.setExpiry(id, this.expiry(session)) }) }
  destroy (id, callback) { this.answer(callback, () => { this.table.delete(id) }) }
  expiry ({ cookie }) { return cookie?.expires ? { expiresAt: new Date(cookie.expires) } : { ttl: this.ttl } }
  answer (callback, f) {
    let result
    try {
      result = f()
    } catch (error) {
      return process.nextTick(callback, error)
    }
    process.nextTick(callback, null, result)
  }
}

const db = open(process.argv[2] ?? 'sessions')
const store = new AtomStore(db, { ttl: 50 })
store.set('s1', { user: 'ada' }, () => store.get('s1', (_, session) => {
  console.log('now:', session)
  setTimeout(() => store.get('s1', (_, session) => {
    console.log('later:', session)
    db.closeSync()
  }), 80)
}))
