// The same with types: npx tsc --strict --module nodenext quickstart.ts
import { open, CustomEncoding } from 'atomkv'

interface User { born: number, title?: string }
const user: CustomEncoding<User> = { name: 'user', encode: value => JSON.stringify(value), decode: bytes => JSON.parse(bytes.toString()) as User }

const db = open('data-ts')
const users = db.table('users', { valueEncoding: user })
users.put('ada', { born: 1815 })
console.log(users.get('ada')?.born)
db.closeSync()
