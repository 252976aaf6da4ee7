// A queue with transactions: each job is taken once, by whoever comes first. node queue.mjs [DIRECTORY]
import { open } from 'atomkv'

const db = open(process.argv[2] ?? 'queue')
const jobs = db.table('jobs', { ordered: true, keyEncoding: 'ordered', valueEncoding: 'json' })
const add = (name, priority = 5) => jobs.put(['waiting', priority, Date.now(), name], { name })
const take = () => db.transaction(tx => {
  const [first] = tx.scan(jobs, { prefix: ['waiting'], limit: 1 })
  if (first === undefined) return undefined
  tx.delete(jobs, first.key)
  tx.put(jobs, ['running', first.value.name], { ...first.value, since: Date.now() })
  return first.value
})

add('mail')
add('backup', 1)
add('report')
const workers = ['one', 'two'].map(async worker => {
  for (let job = take(); job !== undefined; job = take()) {
    await new Promise(resolve => setTimeout(resolve, 5))
    jobs.delete(['running', job.name])
    console.log(worker, 'did', job.name)
  }
})
await Promise.all(workers)
await db.close()
