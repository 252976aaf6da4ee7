import { open, openAsync, ConflictError, Database, Table, Written, Entry, Change, CustomEncoding } from 'atomkv'
import atomkv from 'atomkv'
import { AtomLevel } from 'atomkv/level'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
function same<A, B>(_: Equal<A, B>): void {}

async function all(): Promise<void> {
  const db: Database = open('data', { createIfMissing: true })
  const plain = db.table('plain')
  const found = plain.get('a')
  same<typeof found, Buffer | undefined>(true)
  same<ReturnType<typeof plain.put>, Written>(true)
  // @ts-expect-error: keys are strings
  plain.get(5)
  // @ts-expect-error: values are bytes
  plain.put('a', { x: 1 })
  // @ts-expect-error: no such option
  plain.put('a', 'b', { ttll: 5 })

  plain.setExpiry('a', { ttl: 'never', ifSequence: 5 })
  const expiry = await plain.promises.setExpiry('a', { ttl: 5 })
  same<typeof expiry, Written | undefined>(true)
  // @ts-expect-error: a delete has no expiry
  plain.delete('a', { ttl: 5 })
  // @ts-expect-error: a batch has one durability
  db.batch().put(plain, 'a', 'b', { durability: 'sync' })
  // @ts-expect-error: there is no such durability
  db.batch().write({ durability: 'strong' })
  // @ts-expect-error: a condition is needed
  plain.putIf('a', 'b')

  const numbers = db.table('numbers', { keyEncoding: 'number', valueEncoding: 'utf8', ordered: true })
  for (const { key, value } of numbers.scan({ gte: 5, reverse: true })) {
    same<typeof key, number>(true)
    same<typeof value, string>(true)
  }
  for await (const key of numbers.keys()) key.toFixed()
  // @ts-expect-error: a key alone has no version
  numbers.keys({ versions: true })
  numbers.scan({ versions: true })
  const mapped = numbers.scan().map(item => item.key > 5).toArray()
  same<typeof mapped, boolean[]>(true)

  const point: CustomEncoding<{ x: number }> = { name: 'point', encode: ({ x }) => String(x), decode: bytes => ({ x: Number(bytes) }) }
  const points = db.table('points', { keyEncoding: 'ordered', valueEncoding: point })
  points.put(['a', 1, null, [true]], { x: 1 })
  const entry = points.getEntry(['a'])
  same<typeof entry, Entry<{ x: number }> | undefined>(true)
  // @ts-expect-error: not a point
  points.put('a', { y: 1 })

  const json: Table<string, string, { n: number }, { n: number }> = db.table('json', { valueEncoding: 'json' })
  const result = db.transaction(tx => {
    const n = tx.get(json, 'a')?.n ?? 0
    tx.put(json, 'a', { n: n + 1 }, { ifExists: true })
    same<ReturnType<typeof tx.keys<string, string>>, string[]>(true)
    return n
  })
  same<typeof result, number>(true)
  for await (const change of json.watch({ stateFirst: true, signal: AbortSignal.timeout(5) })) {
    same<typeof change, Change<string, { n: number }>>(true)
  }
  const sequence: number = await json.promises.put('a', { n: 1 }, { ifVersion: 1, durability: 'sync' })
  db.batch().put(plain, 'a', 'b', { expect: 'absent' }).delete(numbers, sequence).write()
  const [first] = plain.getMany(['a'])
  same<typeof first, Buffer | undefined>(true)
  try {
    plain.put('a', 'b', { ifNoExists: true })
  } catch (error) {
    if (error instanceof ConflictError) error.found?.version.toFixed()
  }
  const report = await db.compact({ onProgress: ({ bytes, bytesTotal }) => console.log(bytes / bytesTotal) })
  report.recordsMoved.toFixed()
  const level = new AtomLevel<string, { n: number }>('l', { valueEncoding: 'json', database: db })
  const got: { n: number } | undefined = await level.get('a')
  console.log(got, atomkv.open, await openAsync('x'))
  await db.close()
}
void all
