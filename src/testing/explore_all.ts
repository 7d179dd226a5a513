// npm run explore [-- --preemptions N --kills N --schedules N --only TEXT]: every model in the source, deep.
//
// What `npm test` runs up to a bound, this runs further, and says how many schedules that were. Exit status 1 when a
// model fails or a broken twin is not caught; a failure is printed with the schedule that replays it.
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { scenarioNames, startExplorer } from './explore.ts'

const { values } = parseArgs({
  options: {
    preemptions: { type: 'string', default: '3' },
    kills: { type: 'string', default: '1' },
    schedules: { type: 'string', default: '100000' },
    only: { type: 'string', default: '' },
  },
})

const source = new URL('../', import.meta.url)
const models = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((f) => f.endsWith('.model.ts') && !f.startsWith('testing/'))
  .sort()

const explorer = startExplorer()
let total = 0
let wrong = 0
for (const file of models) {
  const url = new URL(file, source)
  for (const name of await scenarioNames(url)) {
    if (!`${file} ${name}`.includes(values.only)) continue
    const began = performance.now()
    const r = await explorer.explore(url, name, {
      preemptions: Number(values.preemptions),
      kills: name.endsWith('Kill') ? Number(values.kills) : 0,
      schedules: Number(values.schedules),
    })
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    const caught = name.startsWith('bad') === r.failures.length > 0
    const how = name.startsWith('bad') ? (caught ? 'caught' : 'NOT CAUGHT') : caught ? 'holds' : 'FAILS'
    const extent = r.complete || name.startsWith('bad') ? '' : ' (limit reached)'
    console.log(`${file} ${name}: ${how}, ${r.schedules} schedules${extent}, up to ${r.steps} steps, ${seconds} s`)
    if (!caught) for (const f of r.failures) console.log(`  ${f.schedule}\n  ${f.what}`)
    total += r.schedules
    if (!caught) wrong++
  }
}
await explorer.close()
console.log(`${total} schedules, ${wrong === 0 ? 'every model holds and every twin is caught' : `${wrong} wrong`}`)
process.exitCode = wrong === 0 ? 0 : 1
