// Quick start: node quickstart.mjs [DIRECTORY]
import { open } from 'atomkv'

const db = open(process.argv[2] ?? 'data')
const users = db.table('users', { ordered: true, valueEncoding: 'json' })

users.put('ada', { born: 1815 })
await users.promises.put('alan', { born: 1912 })
const { value, version } = users.getEntry('ada')
users.put('ada', { ...value, title: 'countess' }, { ifVersion: version })
for (const { key, value } of users.scan({ prefix: 'a' })) console.log(key, value)
await db.close()
