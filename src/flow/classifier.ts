// The kinds of filters: flower, matchall, which is a flow that looks at nothing, fw, which looks at the mark (fw.ts), and
// u32, whose filters are nodes of a tree (u32.ts). cls_flower.c, cls_matchall.c, cls_fw.c, cls_u32.c.
//
// A prio is of one kind. What differs between kinds is the content of TCA_OPTIONS: what a filter matches, and the
// attributes beside the actions. To the tables and the datapath all flows are alike, but for those of u32.
//
// The kinds that a kernel has besides are refused by name.

import { flowKey, flowKeyAttributes } from '../match/index.ts'
import { type KeyExtra, keyExtra } from '../match/match.ts'
import { counterRead } from '../memory/counters.ts'
import {
  FLOW_CLASSID,
  FLOW_CLS_FLAGS,
  FLOW_COUNTER,
  FLOW_KEY_PTR,
  FLOW_MASK,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  FLOW_RAW,
  MASK_PAIRS,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  MASK_WORDS,
  PRIO_KIND,
  PRIO_KIND_FLOWER,
  PRIO_KIND_MATCHALL,
  PRIO_KIND_U32,
} from '../memory/layout/flow.ts'
import { type Builder, NLA_HDRLEN, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as Flower from '../wire/tca_flower.ts'
import * as Matchall from '../wire/tca_matchall.ts'
import { TCA_U32_ACT } from '../wire/tca_u32.ts'
import { TCA_CLS_FLAGS_IN_HW } from '../wire/tcm.ts'
import { isString } from './action_message.ts'
import type { FlowContext } from './context.ts'
import { isRestoring, readExactKey } from './exact_key.ts'
import { fw } from './fw.ts'
import { clearScratch, type MatchScratch, matchScratch, pack } from './match_scratch.ts'
import { putU32, putU32Tail } from './u32_message.ts'
import { knodeOf } from './u32_node.ts'

/** What a filter's options say beside the match. */
export interface Options {
  /** TCA_CLS_FLAGS_* */
  flags: number
  classid: number
  /** Payload of the nest of actions, 0 without. */
  act: number
  /** The scratch that holds the match, packed. */
  match: MatchScratch
}

/** Which filter the options are for. */
export interface For {
  readonly prio: number
  /** tcm_handle. */
  readonly handle: number
  /** The flow that has the handle already, 0 when there is none. */
  readonly old: number
}

export interface Classifier {
  readonly name: string
  /** As PRIO_KIND. */
  readonly kind: number
  /** A prio has one filter. */
  readonly single: boolean
  /** Its changes run under rtnl. */
  readonly rtnl: boolean
  /** Attribute of the actions in TCA_OPTIONS. */
  readonly act: number
  /**
   * Reads the options in [o, end), both 0 without: the match into the scratch, or into one that it keeps (match). The
   * result is valid until the next call.
   */
  parse(c: FlowContext, d: DataView, o: number, end: number, s: MatchScratch, at: For): Options
  /** Has the flow options to show? */
  shows(m: Int32Array, flow: number): boolean
  /** Writes what stands before the actions, and what stands behind them. */
  put(c: FlowContext, b: Builder, flow: number, terse: boolean, prio: number): void
  putTail?(c: FlowContext, b: Builder, flow: number): void
}

const always = (): boolean => true

const beside = new Int32Array(Flower.TCA_FLOWER_FLAGS + 1)

/** What stands beside the key, when the key comes from elsewhere. */
function besideKey(d: DataView, o: number, end: number, extra: KeyExtra): void {
  parseAttrs(d, o, end, beside, Flower.TCA_FLOWER_FLAGS)
  const u32 = (type: number): number => (beside[type] === 0 ? 0 : d.getUint32(beside[type], true))
  extra.flags = u32(Flower.TCA_FLOWER_FLAGS)
  extra.classid = u32(Flower.TCA_FLOWER_CLASSID)
  extra.act = beside[Flower.TCA_FLOWER_ACT]
}

const shown = matchScratch()
const options: Options = { flags: 0, classid: 0, act: 0, match: shown }

export const flower: Classifier = {
  name: 'flower',
  kind: PRIO_KIND_FLOWER,
  single: false,
  rtnl: false,
  act: Flower.TCA_FLOWER_ACT,
  shows: always,

  parse(c, d, o, end, s) {
    if (o === 0) throw new NetlinkError(EINVAL, 'flower: options are missing')
    const known = isRestoring() ? undefined : c.keys.recall(d, o, end)
    if (known !== undefined) {
      options.flags = known.flags
      options.classid = known.classid
      options.act = known.head + known.tail === end - o ? 0 : o + known.head + NLA_HDRLEN
      options.match = known.match
      return options
    }
    const extra = extraOf(c)
    if (readExactKey(s)) besideKey(d, o, end, extra)
    else {
      clearScratch(s)
      flowKey(d, o, end, s.key, s.mask, extra)
      s.rangeSrc = extra.srcPortMax === 0 ? 0 : extra.srcPortMin | (extra.srcPortMax << 16)
      s.rangeDst = extra.dstPortMax === 0 ? 0 : extra.dstPortMin | (extra.dstPortMax << 16)
    }
    s.maskFlags = (s.rangeSrc === 0 ? 0 : MASK_RANGE_SRC) | (s.rangeDst === 0 ? 0 : MASK_RANGE_DST)
    pack(s)
    options.flags = extra.flags
    options.classid = extra.classid
    options.act = extra.act
    options.match = s
    if (!isRestoring()) c.keys.meet(d, o, end, extra.act)
    return options
  },

  put(c, b, flow, terse) {
    const { m } = c.a
    const classid = m[(flow + FLOW_CLASSID) >> 2]
    if (classid !== 0 && !terse) b.attrU32(Flower.TCA_FLOWER_CLASSID, classid)
    if (!terse) {
      unpack(m, flow, shown)
      putKeys(c, b, shown)
    }
    const flags = m[(flow + FLOW_CLS_FLAGS) >> 2]
    b.attrU32(Flower.TCA_FLOWER_FLAGS, flags)
    if (!terse) b.attrU32(Flower.TCA_FLOWER_IN_HW_COUNT, (flags & TCA_CLS_FLAGS_IN_HW) === 0 ? 0 : 1)
  },
}

const attrs = new Int32Array(Matchall.TCA_MATCHALL_MAX + 1)

export const matchall: Classifier = {
  name: 'matchall',
  kind: PRIO_KIND_MATCHALL,
  single: true,
  rtnl: false,
  act: Matchall.TCA_MATCHALL_ACT,
  shows: always,

  parse(_, d, o, end, s) {
    if (o === 0) throw new NetlinkError(EINVAL, 'matchall: options are missing')
    parseAttrs(d, o, end, attrs, Matchall.TCA_MATCHALL_MAX)
    const u32 = (type: number): number => (attrs[type] === 0 ? 0 : d.getUint32(attrs[type], true))
    clearScratch(s)
    pack(s)
    options.flags = u32(Matchall.TCA_MATCHALL_FLAGS)
    options.classid = u32(Matchall.TCA_MATCHALL_CLASSID)
    options.act = attrs[Matchall.TCA_MATCHALL_ACT]
    options.match = s
    return options
  },

  put(c, b, flow) {
    const { m } = c.a
    const classid = m[(flow + FLOW_CLASSID) >> 2]
    if (classid !== 0) b.attrU32(Matchall.TCA_MATCHALL_CLASSID, classid)
    b.attrU32(Matchall.TCA_MATCHALL_FLAGS, m[(flow + FLOW_CLS_FLAGS) >> 2])
    b.attrU64(Matchall.TCA_MATCHALL_PCNT, counterRead(c.a, m[(flow + FLOW_COUNTER) >> 2]).packets)
  },
}

/** Requests about u32 go to u32.ts; this says what its messages and its prios have in common with the others. */
const u32: Classifier = {
  name: 'u32',
  kind: PRIO_KIND_U32,
  single: false,
  rtnl: true,
  act: TCA_U32_ACT,
  shows: always,

  parse() {
    throw new Error('u32: its requests are made in u32.ts')
  },

  put(c, b, flow) {
    putU32(c, b, { hnode: 0, knode: knodeOf(c.a.m, flow) })
  },

  putTail(c, b, flow) {
    putU32Tail(c, b, knodeOf(c.a.m, flow))
  },
}

const byKind = (): readonly Classifier[] => [flower, matchall, u32, fw]

/** Kinds of Linux 6.1 that are not here. */
const OTHERS = ['basic', 'bpf', 'cgroup', 'flow', 'route', 'rsvp', 'rsvp6', 'tcindex']

/** The kind that TCA_KIND names. Refuses those that a kernel has by name, and all others as a kernel does. */
export function classifierAt(d: DataView, payload: number): Classifier {
  for (const k of byKind()) if (isString(d, payload, k.name)) return k
  for (const name of OTHERS) {
    if (isString(d, payload, name)) {
      throw new NetlinkError(EOPNOTSUPP, `flowerbed: filters of kind ${name} are not supported`)
    }
  }
  throw new NetlinkError(ENOENT, 'TC classifier not found')
}

/** The kind of a prio. */
export const classifierOf = (m: Int32Array, prio: number): Classifier => {
  const kind = m[(prio + PRIO_KIND) >> 2]
  return kind === PRIO_KIND_FLOWER ? flower : byKind()[kind - 1]
}

export const isU32 = (m: Int32Array, prio: number): boolean => m[(prio + PRIO_KIND) >> 2] === PRIO_KIND_U32

const extras = new WeakMap<FlowContext, KeyExtra>()
/** This thread's scratch for what stands beside key and mask. */
function extraOf(c: FlowContext): KeyExtra {
  let extra = extras.get(c)
  if (extra === undefined) {
    extra = keyExtra(c.keyDevices)
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

/** The attributes of flower that say the key and mask of a scratch. */
export function putKeys(c: FlowContext, b: Builder, s: MatchScratch): void {
  const extra = extraOf(c)
  extra.srcPortMin = s.rangeSrc & 0xffff
  extra.srcPortMax = s.rangeSrc >>> 16
  extra.dstPortMin = s.rangeDst & 0xffff
  extra.dstPortMax = s.rangeDst >>> 16
  flowKeyAttributes(s.key, s.mask, extra, b)
}
