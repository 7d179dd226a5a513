// A filter, or the head of a prio, as an RTM_{NEW,DEL}TFILTER message (tcf_fill_node, fl_dump).
//
//   tcmsg { ifindex, handle, parent, pref | protocol }  TCA_KIND  TCA_CHAIN  TCA_OPTIONS { keys, flags, actions }
//
// A prio shows itself once, with handle 0 and without options, before its filters.

import { flowKeyAttributes } from '../match/index.ts'
import { type KeyDevices, type KeyExtra, keyExtra } from '../match/match.ts'
import type { Arena } from '../memory/arena.ts'
import {
  CHAIN_INDEX,
  FLOW_CLASSID,
  FLOW_CLS_FLAGS,
  FLOW_HANDLE,
  FLOW_KEY_PTR,
  FLOW_MASK,
  FLOW_NACTIONS,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  FLOW_RAW,
  MASK_PAIRS,
  MASK_WORDS,
  PRIO_CHAIN,
  PRIO_PREF,
  PRIO_PROTO,
} from '../memory/layout/flow.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import { netdevByName, netdevName, netdevSlot } from '../net/netdev.ts'
import type { Builder } from '../wire/netlink.ts'
import { TCA_FLOWER_ACT, TCA_FLOWER_CLASSID, TCA_FLOWER_FLAGS, TCA_FLOWER_IN_HW_COUNT } from '../wire/tca_flower.ts'
import { TCA_CHAIN, TCA_KIND, TCA_OPTIONS, tcmsg } from '../wire/tcm.ts'
import { dumpAction } from './action_message.ts'
import type { FlowContext } from './context.ts'
import { actionOf } from './flow.ts'
import { clearScratch, type MatchScratch, matchScratch } from './match_scratch.ts'

export const FLOWER = 'flower'

/** Whose answer it is: the header of the messages. */
export interface Reply {
  readonly type: number
  readonly flags: number
  readonly seq: number
  readonly pid: number
  readonly ifindex: number
  readonly parent: number
}

/** Devices of the arena for `indev`. */
export const keyDevices = (a: Arena): KeyDevices => ({
  indexOf: (name) => {
    const dev = netdevByName(a, name)
    return dev === 0 ? 0 : a.m[(dev + NETDEV_IFINDEX) >> 2]
  },
  nameOf: (ifindex) => netdevName(a, netdevSlot(a, ifindex)),
})

const extras = new WeakMap<FlowContext, KeyExtra>()
/** This thread's scratch for what stands beside key and mask. */
export function extraOf(c: FlowContext): KeyExtra {
  let extra = extras.get(c)
  if (extra === undefined) {
    extra = keyExtra(keyDevices(c.a))
    extras.set(c, extra)
  }
  return extra
}

/** Key, as it was given, and mask of a flow, back in the scratch. */
export function unpack(m: Int32Array, flow: number, s: MatchScratch): void {
  clearScratch(s)
  const mask = m[(flow + FLOW_MASK) >> 2]
  const key = m[(flow + FLOW_KEY_PTR) >> 2] >> 2
  const words = m[(mask + MASK_WORDS) >> 2]
  for (let i = 0, w = (mask + MASK_PAIRS) >> 2; i < words; i++, w += 2) {
    s.mask32[m[w] >> 2] = m[w + 1]
    s.key32[m[w] >> 2] = m[key + i]
  }
  const raw = m[(flow + FLOW_RAW) >> 2]
  if (raw !== 0) {
    for (let i = 0, w = (raw >> 2) + 1; i < m[raw >> 2]; i++, w += 2) s.key32[m[w] >> 2] = m[w + 1]
  }
  s.rangeSrc = m[(flow + FLOW_RANGE) >> 2]
  s.rangeDst = m[(flow + FLOW_RANGE_DST) >> 2]
}

const shown = matchScratch()

/**
 * Begins `b` anew with the message of a filter, or, with flow 0, of the prio's head; the caller ends it. The caller holds
 * a reference to the flow and has been in one RCU section since it found it in its prio.
 */
export function fillFilter(c: FlowContext, b: Builder, r: Reply, prio: number, flow: number, terse = false): void {
  const { m } = c.a
  const info = (m[(prio + PRIO_PREF) >> 2] << 16) | m[(prio + PRIO_PROTO) >> 2]
  b.begin(r.type, r.flags, r.seq, r.pid)
  tcmsg(b, r.ifindex, flow === 0 ? 0 : m[(flow + FLOW_HANDLE) >> 2], r.parent, info)
  b.attrStr(TCA_KIND, FLOWER)
  b.attrU32(TCA_CHAIN, m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_INDEX) >> 2])
  if (flow === 0) return
  const options = b.nest(TCA_OPTIONS)
  const classid = m[(flow + FLOW_CLASSID) >> 2]
  if (classid !== 0 && !terse) b.attrU32(TCA_FLOWER_CLASSID, classid)
  if (!terse) putKeys(c, b, flow)
  b.attrU32(TCA_FLOWER_FLAGS, m[(flow + FLOW_CLS_FLAGS) >> 2])
  if (!terse) b.attrU32(TCA_FLOWER_IN_HW_COUNT, 0)
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  if (n > 0) {
    const list = b.nest(TCA_FLOWER_ACT)
    for (let i = 0; i < n; i++) dumpAction(c, actionOf(m, flow, i), i + 1, b, terse)
    b.nestEnd(list)
  }
  b.nestEnd(options)
}

function putKeys(c: FlowContext, b: Builder, flow: number): void {
  unpack(c.a.m, flow, shown)
  const extra = extraOf(c)
  extra.srcPortMin = shown.rangeSrc & 0xffff
  extra.srcPortMax = shown.rangeSrc >>> 16
  extra.dstPortMin = shown.rangeDst & 0xffff
  extra.dstPortMax = shown.rangeDst >>> 16
  flowKeyAttributes(shown.key, shown.mask, extra, b)
}
