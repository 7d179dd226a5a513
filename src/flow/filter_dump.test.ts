// A dump that rests: what others change meanwhile, and what becomes of one that nobody reads to its end.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { viewOf } from '../wire/netlink.ts'
import { tcmHandle, tcmInfo } from '../wire/tcm.ts'
import { flowDump } from './request.ts'
import { leaks, makeWorld, type World } from './world.model.ts'

const F = 'tc filter add dev p0 ingress protocol ip'
const N = 300
let w: World
beforeEach(() => {
  w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
  for (let i = 1; i <= N; i++) w.tc(`${F} pref 10 handle ${2 * i} flower dst_ip 10.0.${i >> 8}.${i & 255} action drop`)
  w.tc(`${F} pref 20 handle 1 flower action drop`)
  w.tc(`${F} pref 20 chain 7 handle 1 flower action drop`)
})
afterEach(() => {
  w.tc('tc qdisc del dev p0 clsact')
  expect(leaks(w)).toEqual({})
})

const dump = (): Generator<Uint8Array, void> =>
  flowDump(w.c, parseCommand(splitLine('tc filter show dev p0 ingress'), w.devices).requests[0].slice())
/** pref and handle of each filter; heads of prios left out. */
const filters = (messages: Iterable<Uint8Array>): string[] =>
  [...messages].flatMap((m) => {
    const d = viewOf(m)
    return tcmHandle(d) === 0 ? [] : [`${tcmInfo(d) >>> 16} ${tcmHandle(d)}`]
  })
const take = (d: Generator<Uint8Array, void>, n: number): Uint8Array[] =>
  Array.from({ length: n }, () => d.next().value as Uint8Array)

test('what is there throughout is shown once, whatever comes and goes in between', () => {
  const d = dump()
  const seen = take(d, 100)
  for (let i = 1; i <= N; i += 3) w.tc(`tc filter del dev p0 ingress protocol ip pref 10 handle ${2 * i} flower`)
  for (let i = 1; i <= N; i += 10)
    w.tc(`${F} pref 10 handle ${2 * i + 1} flower dst_ip 11.0.${i >> 8}.${i & 255} action drop`)
  w.tc(`${F} pref 5 flower action pass`)
  w.tc(`${F} pref 15 handle 1 flower action pass`)
  const shown = filters([...seen, ...d])
  const once = shown.filter((s) => s !== '20 1') // which two chains have
  expect(new Set(once).size).toBe(once.length)
  expect(shown.length - once.length).toBe(2)
  for (let i = 1; i <= N; i++) if (i % 3 !== 1) expect(shown).toContain(`10 ${2 * i}`)

  expect(shown).toContain('15 1')
})

test('its prio, its chain or its whole qdisc go while it rests: it ends', () => {
  const first = dump()
  take(first, 100)
  w.tc('tc filter del dev p0 ingress pref 10')
  expect(filters(first)).toContain('20 1')
  const second = dump()
  take(second, 1)
  w.tc('tc qdisc del dev p0 clsact')
  filters(second)
  w.tc('tc qdisc add dev p0 clsact')
})

test('given up in the middle it leaves nothing behind', () => {
  const d = dump()
  take(d, 100)
  d.return()
  expect(d.next().done).toBe(true)
})
