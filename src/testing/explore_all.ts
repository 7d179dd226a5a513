// npm run explore [-- --minutes N --preemptions N --kills N --threads N --only TEXT]: every model in the source, deep.
//
// What `npm test` runs up to a bound, this runs further, for a known time. Schedules grow with the steps to the power of the
// preemptions, and most bugs need few; so all scenarios are explored with no preemption, then all with one, and so on, in
// slices: of those with the least bound the one that had the least time goes on where it stopped. Each core has an explorer.
//
// At the end a line for each scenario says how far it came: `all with ≤ 2` preemptions, and perhaps a part of those with 3.
// Exit status 1 when a model fails or a broken twin is not caught; a failure is printed with the schedule that replays it.
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { spawn, type Thread } from '../sync/thread.ts'
import { type Position, type Report, scenarioNames } from './explore.ts'
import type { Answer, Ask } from './explore_thread.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    preemptions: { type: 'string', default: '4' },
    kills: { type: 'string', default: '1' },
    threads: { type: 'string', default: String(availableParallelism()) },
    only: { type: 'string', default: '' },
  },
})
const number = (name: 'minutes' | 'preemptions' | 'kills' | 'threads'): number => {
  const n = Number(values[name])
  if (!(n >= 0) || (name === 'threads' && n < 1)) throw new Error(`--${name}: ${values[name]}`)
  return n
}

/** A scenario goes on for so long before another one has its turn, ms. */
const SLICE = 20_000
const PREEMPTIONS = number('preemptions')
const KILLS = number('kills')
const until = performance.now() + number('minutes') * 60_000

interface Job {
  readonly file: string
  readonly url: string
  readonly name: string
  /** Where it goes on. */
  at: Position
  schedules: number
  /** Schedules of the bound that it is at: when it has none, there are no more. */
  own: number
  steps: number
  ms: number
  running: boolean
  /** All schedules were run that there are, or a failure was found. */
  done: boolean
  failures: Report['failures']
}

const isTwin = (j: Job): boolean => j.name.startsWith('bad')
const isWrong = (j: Job): boolean => isTwin(j) !== j.failures.length > 0

async function allJobs(): Promise<Job[]> {
  const source = new URL('../', import.meta.url)
  const jobs: Job[] = []
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((f) => f.endsWith('.model.ts') && !f.startsWith('testing/')).sort()) {
    const url = new URL(file, source)
    for (const name of await scenarioNames(url)) {
      if (!`${file} ${name}`.includes(values.only)) continue
      const at = { bound: 0, prefix: [] }
      const none = { schedules: 0, own: 0, steps: 0, ms: 0, running: false, done: false, failures: [] }
      jobs.push({ file, url: url.href, name, at, ...none })
    }
  }
  return jobs
}

/** Twins are a bound ahead: they end when they are caught, most of them soon. */
const rank = (j: Job): number => j.at.bound - (isTwin(j) ? 1 : 0)

/** Whose turn it is; undefined when all are done or somebody else's. */
function nextJob(jobs: readonly Job[]): Job | undefined {
  const waiting = jobs.filter((j) => !j.done && !j.running)
  return waiting.sort((x, y) => rank(x) - rank(y) || x.ms - y.ms)[0]
}

/** A slice of one scenario, within one bound. */
async function goOn(thread: Thread, j: Job): Promise<void> {
  const began = performance.now()
  const answer = new Promise<Answer>((resolve, reject) => {
    thread.onceMessage((message) => resolve(message as Answer))
    void thread.ended.then(({ error }) => reject(error ?? new Error('an explorer ended')))
  })
  j.running = true
  thread.post({
    url: j.url,
    name: j.name,
    bounds: {
      from: j.at,
      preemptions: j.at.bound,
      kills: j.name.endsWith('Kill') ? KILLS : 0,
      schedules: Number.POSITIVE_INFINITY,
      ms: Math.max(1, Math.min(SLICE, until - began)),
    },
  } satisfies Ask)
  const r = await answer
  j.running = false
  if ('error' in r) throw new Error(`${j.file} ${j.name}: ${r.error}`)
  j.ms += performance.now() - began
  j.schedules += r.schedules
  j.own += r.schedules
  j.steps = Math.max(j.steps, r.steps)
  j.failures = r.failures
  if (r.next !== undefined) j.at = r.next
  else if (!r.complete || j.own === 0 || j.at.bound === PREEMPTIONS) j.done = true
  else {
    j.at = { bound: j.at.bound + 1, prefix: [] }
    j.own = 0
  }
  if (j.failures.length > 0 && isWrong(j)) tell(j)
}

function tell(j: Job): void {
  for (const f of j.failures) console.log(`${j.file} ${j.name} FAILS\n  ${f.schedule}\n  ${f.what}`)
}

function extent(j: Job): string {
  if (j.done) return j.own === 0 ? 'all there are' : `all with <= ${j.at.bound} preemptions`
  const below = j.at.bound === 0 ? 'none' : `all with <= ${j.at.bound - 1} preemptions`
  return j.own === 0 ? below : `${below}, ${j.own} with ${j.at.bound}`
}

function row(j: Job): string {
  const how = isTwin(j) ? (isWrong(j) ? 'NOT CAUGHT' : 'caught') : isWrong(j) ? 'FAILS' : 'holds'
  const far = j.failures.length > 0 ? `with ${j.at.bound} preemptions` : extent(j)
  const numbers = `${String(j.schedules).padStart(8)} schedules, up to ${String(j.steps).padStart(3)} steps`
  return `${`${j.file} ${j.name}`.padEnd(44)} ${how.padEnd(10)} ${numbers}, ${(j.ms / 1000).toFixed(0).padStart(4)} s  ${far}`
}

const jobs = await allJobs()
const threads = Array.from({ length: number('threads') }, (_, i) =>
  spawn(new URL('./explore_thread.ts', import.meta.url), i % availableParallelism()),
)
const begin = performance.now()
let told = 0
await Promise.all(
  threads.map(async (thread) => {
    while (performance.now() < until) {
      const j = nextJob(jobs)
      if (j === undefined) {
        if (!jobs.some((x) => x.running)) break
        await new Promise((resolve) => setTimeout(resolve, 50)) // another explorer's job may go on here
        continue
      }
      await goOn(thread, j)
      const left = jobs.filter((x) => !x.done)
      const bound = left.length === 0 ? PREEMPTIONS + 1 : Math.min(...left.map((x) => x.at.bound))
      for (; told < bound; told++)
        console.log(`all with <= ${told} preemptions: ${((performance.now() - begin) / 1000).toFixed(0)} s`)
    }
  }),
)
for (const t of threads) await t.terminate()

for (const j of jobs) console.log(row(j))
const wrong = jobs.filter(isWrong)
const good = jobs.filter((j) => !isTwin(j))
const total = jobs.reduce((n, j) => n + j.schedules, 0)
console.log(
  `${total} schedules in ${((performance.now() - begin) / 60_000).toFixed(1)} minutes: ${good.length} models, ` +
    `${good.filter((j) => j.done).length} of them to the end; ${jobs.length - good.length} twins; ` +
    (wrong.length === 0 ? 'every model holds and every twin is caught' : `${wrong.length} wrong`),
)
process.exitCode = wrong.length === 0 && jobs.length > 0 ? 0 : 1
