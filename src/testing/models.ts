// Runs model files as tests: exports that begin with `good` must hold in every schedule, exports that begin with `bad`
// must be caught. Names that end in `Kill` also let one thread die. The number of schedules is printed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Bounds, type Explorer, scenarioNames, startExplorer } from './explore.ts'

/** Bounds of the daily run; src/testing/explore_all.ts goes deeper. */
export const bounded = (name: string): Bounds =>
  name.endsWith('Kill') ? { preemptions: 1, kills: 1, schedules: 4000 } : { schedules: 4000 }

/** Tests of `<name>.model.ts` beside the file at `from`. */
export async function describeModels(from: string, names: string[]): Promise<void> {
  let explorer: Explorer
  beforeAll(() => {
    explorer = startExplorer()
  })
  afterAll(() => explorer.close())
  for (const name of names) {
    const url = new URL(`./${name}.model.ts`, from)
    describe(name, async () => {
      for (const scenario of await scenarioNames(url)) {
        test(scenario, { timeout: 120_000 }, async () => {
          const r = await explorer.explore(url, scenario, bounded(scenario))
          console.log(`${name} ${scenario}: ${r.schedules} schedules${r.complete ? '' : ', stopped'}, ${r.steps} steps`)
          if (scenario.startsWith('good')) expect(r.failures).toEqual([])
          else expect(r.failures.length).toBe(1)
        })
      }
    })
  }
}
