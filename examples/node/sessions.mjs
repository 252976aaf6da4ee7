// A store of sessions as express-session expects one: node sessions.mjs [DIRECTORY]
import { open } from 'atomkv'

export class AtomStore {
  constructor (db, { ttl = 24 * 3600 * 1000 } = {}) {
    this.ttl = ttl
    this.table = db.table('sessions', { valueEncoding: 'json', ttl })
  }

  get (id, callback) { this.answer(callback, () => this.table.get(id) ?? null) }
  set (id, session, callback) {
    const { expires } = session.cookie ?? {}
    this.answer(callback, () => { this.table.put(id, session, expires ? { expiresAt: new Date(expires) } : { ttl: this.ttl }) })
  }

  touch (id, session, callback) { this.answer(callback, () => { this.table.setExpiry(id, { ttl: this.ttl }) }) }
  destroy (id, callback) { this.answer(callback, () => { this.table.delete(id) }) }
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
