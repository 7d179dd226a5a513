// The invariants of the scheme (9.4), asserted when nothing moves: all works have run, no request is under way.
//
// Returns what is wrong, as sentences; nothing wrong is an empty list. Imported by tests, the stress test and benches.
// I7 (counters) and I8 (packets) need traffic, I9 needs filters, I10 is enforced by sync/mutex.ts on every lock.

import type { Arena } from '../memory/arena.ts'
import { hashCount, hashEach } from '../memory/hash_table.ts'
import { ENCAP_DEV, ENCAP_HEADER, ENCAP_TUN, HEADER_ENTRY, HEADER_OUT_DEV } from '../memory/layout/encap.ts'
import * as F from '../memory/layout/flow.ts'
import { NETDEV_MAC } from '../memory/layout/netdev.ts'
import { SLOW_NEIGH_STALE, SLOW_NONE } from '../memory/layout/slow.ts'
import { first, next } from '../memory/list.ts'
import { neighLookup, neighSnapshot } from '../net/neigh.ts'
import { headerBytes } from '../tunnel/header.ts'
import * as E from './encap_entry.ts'
import { hasKey } from './encap_key.ts'
import { itemOf } from './flow_path.ts'
import * as N from './neigh_hash_entry.ts'
import * as R from './root.ts'
import * as Route from './route_entry.ts'

const entriesOf = (a: Arena): number[] => {
  const all: number[] = []
  for (let e = first(a, R.rootOf(a) + R.ROOT_ENTRIES); e !== 0; e = next(a, e, E.ENTRY_LINK)) all.push(e)
  return all
}

/** Every flow that is attached to something. */
export function attachedFlows(a: Arena): number[] {
  const flows = new Set<number>()
  for (const e of entriesOf(a))
    for (let item = first(a, e + E.ENTRY_FLOWS); item !== 0; item = next(a, item, E.ITEM_LINK))
      flows.add(a.m[(item + E.ITEM_FLOW) >> 2])
  return [...flows]
}

/** What is wrong with these flows and with everything that encap/ has. `flows`: all that are attached. */
export function violations(a: Arena, flows: readonly number[]): string[] {
  const wrong: string[] = []
  const { m } = a
  const entries = entriesOf(a)
  const itemsOf = new Map<number, number>()
  for (const flow of flows) checkFlow(a, flow, wrong, itemsOf)
  for (const e of entries) checkEntry(a, e, wrong, itemsOf.get(e) ?? 0)
  for (const e of itemsOf.keys()) if (!entries.includes(e)) wrong.push(`I5 entry ${e} has flows and is on no list`)

  const root = R.rootOf(a)
  const registered = new Map<number, number>()
  const routed = new Map<number, number>()
  for (const e of entries) {
    const nhe = m[(e + E.ENTRY_NHE) >> 2]
    const r = m[(e + E.ENTRY_ROUTE) >> 2]
    if (nhe !== 0) registered.set(nhe, (registered.get(nhe) ?? 0) + 1)
    if (r !== 0) routed.set(r, (routed.get(r) ?? 0) + 1)
  }
  hashEach(a, root + R.ROOT_NEIGH_TABLE, (nhe) => {
    const n = registered.get(nhe) ?? 0
    if (n === 0) wrong.push(`I5 nhe ${nhe} without an entry`)
    if (m[(nhe + N.NHE_REFCNT) >> 2] !== n)
      wrong.push(`I5 nhe ${nhe}: ${m[(nhe + N.NHE_REFCNT) >> 2]} refs, ${n} entries`)
    if (N.takeEncaps(a, nhe).map((e) => unref(a, e)).length !== n)
      wrong.push(`I5 nhe ${nhe}: its list is not its ${n} entries`)
    registered.delete(nhe)
  })
  for (const nhe of registered.keys()) wrong.push(`I5 nhe ${nhe} is used and not in the table`)
  hashEach(a, root + R.ROOT_ROUTE_TABLE, (r) => {
    const n = routed.get(r) ?? 0
    if (m[(r + Route.ROUTE_ENTRY_REFCNT) >> 2] !== n) wrong.push(`I5 route entry ${r}: ${n} entries, other refs`)
    routed.delete(r)
  })
  for (const r of routed.keys()) wrong.push(`I5 route entry ${r} is used and not in the table`)
  const hashed = entries.filter((e) => m[(e + E.ENTRY_FLAGS) >> 2] & E.ENTRY_F_HASHED)
  if (hashCount(a, root + R.ROOT_ENCAP_TABLE) !== hashed.length) wrong.push('I5 the encap table is not its entries')
  for (const [i, e] of hashed.entries())
    for (const other of hashed.slice(i + 1))
      if (hasKey(a, other, m[(e + ENCAP_TUN) >> 2], m[(e + ENCAP_DEV) >> 2]))
        wrong.push(`two entries of one key: ${e} ${other}`)
  return wrong
}

const unref = (a: Arena, e: number): number => {
  a.m[(e + E.ENTRY_REFCNT) >> 2]-- // quiet: nobody else is at it
  return e
}

function checkFlow(a: Arena, flow: number, wrong: string[], itemsOf: Map<number, number>): void {
  const { m } = a
  const flags = m[(flow + F.FLOW_FLAGS) >> 2]
  const n = m[(flow + F.FLOW_NENCAPS) >> 2]
  if (!(flags & F.FLOW_F_OFFLOADED) === !(flags & F.FLOW_F_NOT_READY)) wrong.push(`I1 flow ${flow}: flags ${flags}`)
  let valid = true
  let why = SLOW_NONE
  for (let i = 0; i < n; i++) {
    const item = itemOf(a, flow, i)
    const e = m[(item + E.ITEM_ENTRY) >> 2]
    itemsOf.set(e, (itemsOf.get(e) ?? 0) + 1)
    const itemValid = (m[(item + E.ITEM_FLAGS) >> 2] & E.ITEM_F_VALID) !== 0
    if (itemValid !== E.isValid(a, e)) wrong.push(`I3 flow ${flow} item ${i}: valid ${itemValid}, its entry not so`)
    if (!itemValid && why === SLOW_NONE) why = m[(e + E.ENTRY_WHY) >> 2]
    valid &&= itemValid
  }
  if (valid === ((flags & F.FLOW_F_SLOW) !== 0)) wrong.push(`I2 flow ${flow}: all valid ${valid}, flags ${flags}`)
  if (m[(flow + F.FLOW_WHY) >> 2] !== why)
    wrong.push(`I2 flow ${flow}: why ${m[(flow + F.FLOW_WHY) >> 2]}, should be ${why}`)
}

function checkEntry(a: Arena, e: number, wrong: string[], items: number): void {
  const { m } = a
  const template = m[(e + E.ENTRY_TEMPLATE) >> 2]
  const header = m[(e + ENCAP_HEADER) >> 2]
  const why = m[(e + E.ENTRY_WHY) >> 2]
  const device = m[(e + E.ENTRY_FLAGS) >> 2] & E.ENTRY_F_DEVICE ? 1 : 0
  if (m[(e + E.ENTRY_ITEMS) >> 2] !== items)
    wrong.push(`I5 entry ${e}: ${m[(e + E.ENTRY_ITEMS) >> 2]} items, not ${items}`)
  if (m[(e + E.ENTRY_REFCNT) >> 2] !== items + device)
    wrong.push(`I5 entry ${e}: ${m[(e + E.ENTRY_REFCNT) >> 2]} refs, ${items} items`)
  if (E.isValid(a, e) !== (template !== 0)) wrong.push(`I4 entry ${e}: valid ${E.isValid(a, e)}, template ${template}`)
  if (header !== (why === SLOW_NONE ? template : 0))
    wrong.push(`I3 entry ${e}: header ${header}, template ${template}, why ${why}`)
  const nhe = m[(e + E.ENTRY_NHE) >> 2]
  if (nhe === 0) {
    if (E.isValid(a, e)) wrong.push(`I4 entry ${e} is valid without a next hop`)
    return
  }
  const n = neighLookup(a, m[(nhe + N.NHE_FAMILY) >> 2], N.nheAddress(a, nhe), m[(nhe + N.NHE_DEV) >> 2])
  const seen = n === 0 ? undefined : neighSnapshot(a, n)
  const connected = seen?.valid === true
  if (connected !== E.isValid(a, e))
    wrong.push(`I4 entry ${e}: valid ${E.isValid(a, e)}, next hop ${seen?.state}, why ${why}`)
  if (!connected || template === 0) return
  const o = headerBytes(a, template)
  const out = m[(template + HEADER_OUT_DEV) >> 2]
  for (let i = 0; i < 6; i++) {
    if (a.u8[o + i] !== seen.mac[i] || a.u8[e + E.ENTRY_MAC + i] !== seen.mac[i])
      wrong.push(`I4 entry ${e}: another MAC`)
    if (a.u8[o + 6 + i] !== a.u8[out + NETDEV_MAC + i]) wrong.push(`I4 entry ${e}: another source MAC`)
  }
  if (m[(template + HEADER_ENTRY) >> 2] !== e) wrong.push(`I3 entry ${e}: the header of another`)
  if ((why === SLOW_NEIGH_STALE) !== (R.isSoftware(a) && (seen.state & 4) !== 0))
    wrong.push(`I4 entry ${e}: stale or not`)
}
