// Encap entries and next hops as people and programs see them: `encap show`, summary.json.
//
// Copied out under encap_tbl, one short critical section for the whole list; nothing returned points into the arena.

import type { Arena } from '../memory/arena.ts'
import { TUN_DST, TUN_ID, TUN_IPV6, TUN_MODE, TUN_OPTS_LEN, TUN_SRC } from '../memory/layout/action.ts'
import { ENCAP_DEV, ENCAP_HEADER, ENCAP_TUN } from '../memory/layout/encap.ts'
import { first, next } from '../memory/list.ts'
import { netdevName } from '../net/netdev.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import {
  ENTRY_CHANGED,
  ENTRY_ID,
  ENTRY_ITEMS,
  ENTRY_LINK,
  ENTRY_MAC,
  ENTRY_NHE,
  ENTRY_OUT_DEV,
  ENTRY_WHY,
  isReady,
  isValid,
} from './encap_entry.ts'
import { NHE_ADDR, NHE_DEV, NHE_FAMILY } from './neigh_hash_entry.ts'
import { lockEncaps, ROOT_ENTRIES, rootOf, unlockEncaps } from './root.ts'
import { slowName, slowSentence } from './slow_reason.ts'
import { ipv6Text } from './trace_points.ts'

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

/** All encap entries, oldest first. */
export function encapList(a: Arena): EncapView[] {
  const all: EncapView[] = []
  lockEncaps(a)
  try {
    for (let e = first(a, rootOf(a) + ROOT_ENTRIES); e !== 0; e = next(a, e, ENTRY_LINK))
      if (isReady(a, e)) all.push(viewOf(a, e))
  } finally {
    unlockEncaps(a)
  }
  return all.reverse()
}

/** One entry as a line of `encap show`. */
export function encapText(v: EncapView): string {
  const via = v.nexthop === '' ? '' : ` via ${v.nexthop}`
  const state = v.valid ? `${v.fast ? 'fast' : 'held'} out ${v.out} mac ${v.mac}` : 'slow'
  const why = v.why === 'none' ? '' : ` (${v.reason})`
  return `encap ${v.id} dev ${v.dev} key ${v.key} src ${v.src} dst ${v.dst}${via} flows ${v.flows} ${state}${why}`
}
