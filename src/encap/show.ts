// Encap entries and next hops as people and programs see them: `encap show`, summary.json.
//
// Copied out under encap_tbl, one short critical section for the whole list; nothing returned points into the arena.

import type { Arena } from '../memory/arena.ts'
import { TUN_DST, TUN_ID, TUN_IPV6, TUN_MODE, TUN_OPTS_LEN, TUN_SRC } from '../memory/layout/action.ts'
import { ENCAP_DEV, ENCAP_HEADER, ENCAP_TUN } from '../memory/layout/encap.ts'
import { FLOW_ENCAPS, FLOW_NENCAPS } from '../memory/layout/flow.ts'
import { SLOW_NONE } from '../memory/layout/slow.ts'
import { first, next } from '../memory/list.ts'
import { neighLookup, neighSnapshot } from '../net/neigh.ts'
import { netdevName } from '../net/netdev.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import { entryOf } from './attach.ts'
import {
  ENTRY_CHANGED,
  ENTRY_ID,
  ENTRY_ITEMS,
  ENTRY_LINK,
  ENTRY_MAC,
  ENTRY_NHE,
  ENTRY_OUT_DEV,
  ENTRY_ROUTE,
  ENTRY_WHY,
  isReady,
  isValid,
} from './encap_entry.ts'
import { NHE_ADDR, NHE_DEV, NHE_FAMILY, nheAddress } from './neigh_hash_entry.ts'
import { lockEncaps, ROOT_ENTRIES, rootOf, unlockEncaps } from './root.ts'
import * as Route from './route_entry.ts'
import { slowName, slowSentence } from './slow_reason.ts'
import { ipv6Text, nudName } from './trace_points.ts'

export interface EncapView {
  /** Number of the entry: 1, 2, … in the order in which they came to be. */
  readonly id: number
  /** The tunnel device. */
  readonly dev: string
  readonly src: string
  readonly dst: string
  /** Tunnel id (VNI). */
  readonly key: number
  /** Bytes of tunnel options. */
  readonly options: number
  /** Packets find a header. */
  readonly fast: boolean
  /** The next hop is known. */
  readonly valid: boolean
  /** `none`, or why packets take the slow path. */
  readonly why: string
  readonly reason: string
  /** The port and MAC of the header; empty without one. */
  readonly out: string
  readonly mac: string
  /** Next hop: `10.0.1.2 dev p1`; empty while the route leads nowhere. */
  readonly nexthop: string
  /** Encap destinations of flows that use it. */
  readonly flows: number
  /** Milliseconds of the switch's clock. */
  readonly changed: number
}

const address = (a: Arena, p: number, ipv6: boolean): string =>
  ipv6 ? ipv6Text([...a.u8.slice(p, p + 16)]) : a.u8.slice(p, p + 4).join('.')

function viewOf(a: Arena, e: number): EncapView {
  const { m } = a
  const word = (field: number): number => m[(e + field) >> 2]
  const tun = word(ENCAP_TUN)
  const ipv6 = (m[(tun + TUN_MODE) >> 2] & TUN_IPV6) !== 0
  const nhe = word(ENTRY_NHE)
  const valid = isValid(a, e)
  const why = word(ENTRY_WHY)
  return {
    id: word(ENTRY_ID),
    dev: netdevName(a, word(ENCAP_DEV)),
    src: address(a, tun + TUN_SRC, ipv6),
    dst: address(a, tun + TUN_DST, ipv6),
    key: m[(tun + TUN_ID) >> 2] >>> 0,
    options: a.u8[tun + TUN_OPTS_LEN],
    fast: word(ENCAP_HEADER) !== 0,
    valid,
    why: slowName(why),
    reason: slowSentence(why),
    out: valid ? netdevName(a, word(ENTRY_OUT_DEV)) : '',
    mac: valid ? Array.from(a.u8.slice(e + ENTRY_MAC, e + ENTRY_MAC + 6), hex2).join(':') : '',
    nexthop:
      nhe === 0
        ? ''
        : `${address(a, nhe + NHE_ADDR, m[(nhe + NHE_FAMILY) >> 2] === AF_INET6)} dev ${netdevName(a, m[(nhe + NHE_DEV) >> 2])}`,
    flows: word(ENTRY_ITEMS),
    changed: word(ENTRY_CHANGED) >>> 0,
  }
}

const hex2 = (x: number): string => x.toString(16).padStart(2, '0')

/** What an entry stands on, for who asks why it is as it is. */
export interface EncapDetail extends EncapView {
  /** The route to the tunnel's destination; null while the key cannot be sent at all. */
  readonly route: {
    /** `none` when it leads out of a port, else why not. */
    readonly why: string
    readonly dev: string
    readonly via: string
    readonly src: string
    readonly mtu: number
    /** Of a route with several next hops: how many are alive, and this one's share of the flows by weight. */
    readonly hops?: { readonly alive: number; readonly weight: number; readonly weights: number }
  } | null
  /** The next hop's neighbour; null without a next hop. */
  readonly neighbour: {
    readonly address: string
    readonly dev: string
    /** As `ip neigh` says it; NONE when nobody asked for it yet. */
    readonly state: string
    /** Milliseconds since its state or address changed. */
    readonly since: number
    readonly mac: string
  } | null
  /** Milliseconds since it changed. */
  readonly since: number
}

function detailOf(a: Arena, e: number, now: number): EncapDetail {
  const { m } = a
  const view = viewOf(a, e)
  const r = m[(e + ENTRY_ROUTE) >> 2]
  const nhe = m[(e + ENTRY_NHE) >> 2]
  const since = (t: number): number => Math.max(0, (Math.floor(now) - t) | 0)
  return {
    ...view,
    route: r === 0 ? null : routeView(a, r),
    neighbour: nhe === 0 ? null : hopView(a, nhe, since),
    since: since(view.changed),
  }
}

function routeView(a: Arena, r: number): NonNullable<EncapDetail['route']> {
  const { m } = a
  const why = m[(r + Route.ROUTE_ENTRY_WHY) >> 2]
  const leads = why === SLOW_NONE
  const family = m[(r + Route.ROUTE_ENTRY_NEXTHOP_FAMILY) >> 2]
  const six = m[(r + Route.ROUTE_ENTRY_FAMILY) >> 2] === AF_INET6
  return {
    why: slowName(why),
    dev: leads ? netdevName(a, m[(r + Route.ROUTE_ENTRY_DEV) >> 2]) : '',
    via: leads ? address(a, r + Route.ROUTE_ENTRY_NEXTHOP, family === AF_INET6) : '',
    src: leads ? address(a, r + Route.ROUTE_ENTRY_SOURCE, six) : '',
    mtu: leads ? m[(r + Route.ROUTE_ENTRY_MTU) >> 2] : 0,
    ...(m[(r + Route.ROUTE_ENTRY_HOPS) >> 2] !== 0 && {
      hops: {
        alive: m[(r + Route.ROUTE_ENTRY_HOPS) >> 2],
        weight: m[(r + Route.ROUTE_ENTRY_WEIGHT) >> 2],
        weights: m[(r + Route.ROUTE_ENTRY_WEIGHTS) >> 2],
      },
    }),
  }
}

function hopView(a: Arena, nhe: number, since: (t: number) => number): NonNullable<EncapDetail['neighbour']> {
  const { m } = a
  const dev = m[(nhe + NHE_DEV) >> 2]
  const family = m[(nhe + NHE_FAMILY) >> 2]
  const n = neighLookup(a, family, nheAddress(a, nhe), dev)
  const s = n === 0 ? null : neighSnapshot(a, n)
  return {
    address: address(a, nhe + NHE_ADDR, family === AF_INET6),
    dev: netdevName(a, dev),
    state: nudName(s?.state ?? 0),
    since: s === null ? 0 : since(s.updated),
    mac: s?.valid ? Array.from(s.mac, hex2).join(':') : '',
  }
}

/** All encap entries with what they stand on, oldest first. The caller is an online RCU reader. `now`: ms. */
export const encapDetails = (a: Arena, now: number): EncapDetail[] => mapEntries(a, (e) => detailOf(a, e, now))

/** All encap entries, oldest first. */
export const encapList = (a: Arena): EncapView[] => mapEntries(a, (e) => viewOf(a, e))

function mapEntries<T>(a: Arena, f: (e: number) => T): T[] {
  const all: T[] = []
  lockEncaps(a)
  try {
    for (let e = first(a, rootOf(a) + ROOT_ENTRIES); e !== 0; e = next(a, e, ENTRY_LINK))
      if (isReady(a, e)) all.push(f(e))
  } finally {
    unlockEncaps(a)
  }
  return all.reverse()
}

/** Numbers of the entries that a flow uses. The caller holds a reference to the flow. */
export function encapIds(a: Arena, flow: number): number[] {
  lockEncaps(a)
  try {
    const n = a.m[(flow + FLOW_NENCAPS) >> 2]
    if (a.m[(flow + FLOW_ENCAPS) >> 2] === 0) return []
    const ids: number[] = []
    for (let i = 0; i < n; i++) {
      const e = entryOf(a, flow, i)
      if (e !== 0) ids.push(a.m[(e + ENTRY_ID) >> 2])
    }
    return ids
  } finally {
    unlockEncaps(a)
  }
}

/** One entry as a line of `encap show`. */
export function encapText(v: EncapView): string {
  const via = v.nexthop === '' ? '' : ` via ${v.nexthop}`
  const state = v.valid ? `${v.fast ? 'fast' : 'held'} out ${v.out} mac ${v.mac}` : 'slow'
  const why = v.why === 'none' ? '' : ` (${v.reason})`
  return `encap ${v.id} dev ${v.dev} key ${v.key} src ${v.src} dst ${v.dst}${via} flows ${v.flows} ${state}${why}`
}
