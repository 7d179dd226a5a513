// Many control threads at once on one table: nothing is lost, nothing is done twice, nothing is left.
import { expect, test } from 'vitest'
import { runWork } from '../encap/encap.ts'
import { alloc, free } from '../memory/pool.ts'
import { onThreads } from '../testing/on_threads.ts'
import type { Job, Tally } from './threads.model.ts'
import { leaks, makeWorld, rebase, type World } from './world.model.ts'

const module = new URL('./threads.model.ts', import.meta.url)

async function run(w: World, name: string, threads: number, rounds: number): Promise<Tally> {
  const gate = alloc(w.a, 64)
  const job: Job = { memory: w.a.memory, gate, threads, rounds, seed: 1000 }
  const all = await onThreads<Tally>(module, name, threads, job)
  free(w.a, gate, 64)
  const sum: Tally = {}
  for (const t of all) for (const [k, n] of Object.entries(t)) sum[k] = (sum[k] ?? 0) + n
  return sum
}

function world(): World {
  const w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
  rebase(w)
  return w
}

/** Filters with options that tc shows. */
const filters = (w: World): number =>
  w.json('tc filter show dev p0 ingress').filter((f: { options?: unknown }) => f.options).length

test('different keys in one mask, then the same deletes by all', async () => {
  const w = world()
  expect(await run(w, 'ownKeys', 3, 500)).toEqual({ '': 1500 })
  expect(filters(w)).toBe(1500)
  const deletes = await run(w, 'sameDeletes', 3, 1499)
  expect(deletes['']).toBe(1499)
  expect(filters(w)).toBe(1)
  w.tc('tc filter del dev p0 ingress')
  expect(leaks(w)).toEqual({})
}, 60000)

test('the same keys by all: EEXIST for all but one', async () => {
  const w = world()
  expect(await run(w, 'sameKeys', 3, 500)).toEqual({ '': 500, 'RTNETLINK answers: File exists': 1000 })
  expect(filters(w)).toBe(500)
  const deletes = await run(w, 'sameDeletes', 3, 500)
  expect(deletes['']).toBe(500)
  expect(w.tc('tc filter show dev p0 ingress') + w.tc('tc chain show dev p0 ingress')).toBe('')
  expect(leaks(w)).toEqual({})
}, 60000)

test('turmoil', async () => {
  const w = makeWorld()
  for (const line of [
    'ip addr add 10.0.1.1/24 dev p1',
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
  ])
    w.tc(line)
  runWork(w.a, w.clock.now)
  rebase(w)
  w.tc('tc qdisc add dev p0 clsact')
  const t = await run(w, 'turmoil', 3, 1500)
  for (const verb of ['add', 'replace', 'del', 'del pref', 'show', 'actions', 'chain']) {
    expect(t[`${verb}: `], `${verb} was done`).toBeGreaterThan(0)
  }
  const words = Object.keys(t).filter((k) => !/: (|Error: .*|RTNETLINK answers: .*)$/.test(k))
  expect(words, JSON.stringify(t, null, 1)).toEqual([])
  w.tc('tc qdisc del dev p0 clsact')
  w.tc('tc actions flush action gact')
  w.clock.now = 1e6 // the clock of the works is the clock of those who post them
  runWork(w.a, w.clock.now)
  for (const i of [8, 9]) w.tc(`ip neigh replace 10.0.1.${i} lladdr 02:00:00:00:00:01 nud permanent dev p1`)
  for (const i of [8, 9]) w.tc(`ip neigh del 10.0.1.${i} dev p1`)
  w.clock.now += 1e6
  runWork(w.a, w.clock.now)
  expect(leaks(w)).toEqual({})
}, 120000)
