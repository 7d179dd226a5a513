// Every case of the conformance data: after its commands, `tc -s -j filter show` of every hook says what it says on a
// Linux kernel, but for what packets count. Skipped without the data, and for cases with devices, keys or actions that
// are not here (yet): their lines are refused by name.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { makeWorld } from './world.model.ts'

const data = fileURLToPath(new URL('../../../shared/conformance/kernel/', import.meta.url))
const cases = existsSync(data)
  ? readdirSync(`${data}cases`).filter((c) => existsSync(`${data}expected/${c}/filters.json`))
  : []
const slice = existsSync(data) ? readFileSync(`${data}slice-replay.txt`, 'utf8').split('\n').filter(Boolean) : []

/** What time and packets change; after a refused command also the index, as the kernel frees late. */
const COUNTED = ['installed', 'last_used', 'first_used', 'stats', 'rule_hit', 'success']
const strip = (v: unknown, fields: string[]): unknown => {
  if (Array.isArray(v)) return v.map((x) => strip(x, fields))
  if (v === null || typeof v !== 'object') return v
  return Object.fromEntries(
    Object.entries(v)
      .filter(([k]) => !fields.includes(k))
      .map(([k, x]) => [k, strip(x, fields)]),
  )
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

test.skipIf(cases.length === 0).for(cases)('%s', (name, { skip }) => {
  const folder = `${data}cases/${name}/`
  const setup = read(`${folder}setup.tc`)
  const w = makeWorld({ ports: Number(/# ports: (\d+)/.exec(setup)?.[1] ?? 4) })
  const fields = [...COUNTED]
  for (const line of `${setup}\n${read(`${folder}rules.tc`)}\n${read(`${folder}post.tc`)}`.split('\n')) {
    if (line.trim() === '' || line.startsWith('#') || line.startsWith('modprobe')) continue
    try {
      w.tc(line)
    } catch (e) {
      const why = (e as Error).message
      if (/not supported|Unknown filter/.test(why) && !slice.includes(name)) skip(why)
      if (!setup.includes('# errors: continue') && !existsSync(`${folder}batch`)) throw e
      fields.push('index')
    }
  }
  const expected = JSON.parse(readFileSync(`${data}expected/${name}/filters.json`, 'utf8'))
  for (const [hook, filters] of Object.entries(expected)) {
    if (!Array.isArray(filters)) continue // tc 6.1 printed no JSON there
    const [dev, way] = hook.split('-')
    const line = dev === 'block' ? `tc filter show block ${way}` : `tc filter show dev ${dev} ${way}`
    expect(strip(w.json(line), fields), hook).toEqual(strip(filters, fields))
  }
})
