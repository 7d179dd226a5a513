// gate: lets packets through by the clock, after a schedule of open and closed intervals (m_gate.c, act_gate.c; IEEE
// 802.1Qci). The schedule is a block (action_state.ts). tc 6.1 does not print its name. Whatever clock is named, it is
// the switch's that counts: there is one time here.

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import * as Gate from '../memory/layout/action_state.ts'
import { OP_GATE } from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_PARAMS } from '../memory/pool.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { printTm } from '../tc/stats_text.ts'
import { FLOW_ACTION_GATE } from '../wire/flow_action_id.ts'
import { attrLen, type Builder, forEachAttr, getU64, NLA_F_NESTED, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  genBindcnt,
  genIndex,
  genRefcnt,
  TC_GEN_LEN,
  TCA_GATE_BASE_TIME,
  TCA_GATE_CLOCKID,
  TCA_GATE_CYCLE_TIME,
  TCA_GATE_CYCLE_TIME_EXT,
  TCA_GATE_ENTRY_GATE,
  TCA_GATE_ENTRY_INDEX,
  TCA_GATE_ENTRY_INTERVAL,
  TCA_GATE_ENTRY_IPV,
  TCA_GATE_ENTRY_LIST,
  TCA_GATE_ENTRY_MAX_OCTETS,
  TCA_GATE_FLAGS,
  TCA_GATE_ONE_ENTRY,
  TCA_GATE_PARMS,
  TCA_GATE_PRIORITY,
  TCA_GATE_TM,
  TCA_ID_GATE,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, putParms, readAttrs } from './parms.ts'
import { formatTime64, parseSize, parseTime64 } from './rate_text.ts'

const BLOCK = ACT_PARAMS
const blockSize = (n: number): number => Gate.GATE_ENTRIES + n * Gate.GATE_ENTRY_SIZE

const CLOCKS: readonly (readonly [string, number])[] = [
  ['REALTIME', 0],
  ['TAI', 11],
  ['BOOTTIME', 7],
  ['MONOTONIC', 1],
]
const CLOCK_TAI = 11
const INT_MAX = 0x7fffffff

interface Entry {
  open: boolean
  interval: number
  ipv: number
  maxOctets: number
}

const attrs = new Int32Array(TCA_GATE_CLOCKID + 1)
const POLICY = policy(TCA_GATE_CLOCKID, {
  [TCA_GATE_TM]: 0,
  [TCA_GATE_PARMS]: TC_GEN_LEN,
  3: 0,
  [TCA_GATE_PRIORITY]: 4,
  [TCA_GATE_ENTRY_LIST]: 0,
  [TCA_GATE_BASE_TIME]: 8,
  [TCA_GATE_CYCLE_TIME]: 8,
  [TCA_GATE_CYCLE_TIME_EXT]: 8,
  [TCA_GATE_FLAGS]: 4,
  [TCA_GATE_CLOCKID]: 4,
})

// ---- words

const incomplete = (args: Args): Error => args.fail('"sched-entry" is incomplete')

// `open|close INTERVAL [IPV [MAX-OCTETS]]`: the numbers behind the interval only if they are such. Leaves `args` on the
// last word of the entry.
function parseEntry(args: Args): Entry {
  const word = (): string => {
    if (args.left < 2) throw incomplete(args)
    return args.next()
  }
  const state = word().toLowerCase()
  if (state !== 'open' && state !== 'close') throw incomplete(args)
  const open = state === 'open'
  const e: Entry = { open, interval: 0, ipv: -1, maxOctets: -1 }
  word()
  const plain = args.u32()
  const interval = plain >= 0 ? plain : parseTime64(args.word)
  if (Number.isNaN(interval)) throw incomplete(args)
  if (interval > 0xffffffff) throw args.fail('"interval" is too large')
  e.interval = interval
  const ipv = args.number(args.following.replace(/^-/, ''), 0, INT_MAX)
  if (args.left < 2 || ipv < 0) return e
  args.next()
  if (open) e.ipv = args.word.startsWith('-') ? 0 - ipv : ipv
  if (args.left < 2) return e
  const next = args.following
  const octets = next.startsWith('-') ? 0 - args.number(next.slice(1), 0, INT_MAX) : args.number(next, 0, INT_MAX)
  const size = octets >= 0 ? octets : next.startsWith('-') ? octets : parseSize(next)
  if (Number.isNaN(size)) return e
  args.next()
  if (size > INT_MAX) throw args.fail('"maxoctets" is too large')
  if (open) e.maxOctets = size
  return e
}

function parseTime(args: Args, what: string): number {
  args.next()
  const v = parseTime64(args.word)
  if (Number.isNaN(v)) throw args.invarg(what)
  return v
}

function putEntries(b: Builder, entries: readonly Entry[]): void {
  const list = b.nest(TCA_GATE_ENTRY_LIST | NLA_F_NESTED)
  for (const e of entries) {
    const one = b.nest(TCA_GATE_ONE_ENTRY | NLA_F_NESTED)
    if (e.open) b.attrFlag(TCA_GATE_ENTRY_GATE)
    b.attrU32(TCA_GATE_ENTRY_INTERVAL, e.interval)
    b.attrU32(TCA_GATE_ENTRY_IPV, e.ipv)
    b.attrU32(TCA_GATE_ENTRY_MAX_OCTETS, e.maxOctets)
    b.nestEnd(one)
  }
  b.nestEnd(list)
}

// ---- text

const entryAttrs = new Int32Array(TCA_GATE_ENTRY_MAX_OCTETS + 1)

function printEntry(d: DataView, o: number, len: number, out: Printer): void {
  parseAttrs(d, o, o + len, entryAttrs, TCA_GATE_ENTRY_MAX_OCTETS)
  const [, index, gate, interval, ipv, octets] = entryAttrs
  const s32 = (p: number): number => (p ? d.getInt32(p, true) : -1)
  const ns = interval ? d.getUint32(interval, true) : 0
  out.openObject()
  out.num('number', '\t number %4u', index ? d.getUint32(index, true) : 0)
  out.str('gate_state', '\tgate-state %s ', gate ? 'open' : 'close')
  out.num('interval', null, ns)
  out.text(`\tinterval ${formatTime64(ns)}`)
  if (s32(ipv) !== -1) out.num('ipv', '\t ipv %-10u', s32(ipv) >>> 0)
  else {
    out.num('ipv', null, -1)
    out.text('\t ipv wildcard')
  }
  if (s32(octets) !== -1) out.size('max_octets', '\t max-octets %s', s32(octets))
  else {
    out.text('\t max-octets wildcard')
    out.num('max_octets', null, -1)
  }
  out.closeObject()
  out.nl()
}

function printTimes(d: DataView, out: Printer): void {
  const time = (type: number, name: string, key: string): void => {
    const ns = attrs[type] ? getU64(d, attrs[type]) : 0
    out.text(`\t${name} ${formatTime64(ns)}`)
    out.num(key, null, ns)
  }
  time(TCA_GATE_BASE_TIME, 'base-time', 'base_time')
  time(TCA_GATE_CYCLE_TIME, 'cycle-time', 'cycle_time')
  time(TCA_GATE_CYCLE_TIME_EXT, 'cycle-time-ext', 'cycle_time_ext')
}

// ---- kernel

function readEntries(d: DataView, list: number): Entry[] {
  const entries: Entry[] = []
  if (!list) return entries
  forEachAttr(d, list, list + attrLen(d, list), (type, o, len) => {
    if (type !== TCA_GATE_ONE_ENTRY) return
    parseAttrs(d, o, o + len, entryAttrs, TCA_GATE_ENTRY_MAX_OCTETS)
    const [, , gate, interval, ipv, octets] = entryAttrs
    const ns = interval ? d.getUint32(interval, true) : 0
    if (ns === 0) throw new NetlinkError(EINVAL, 'Invalid interval for schedule entry', o)
    const s32 = (p: number): number => (p ? d.getInt32(p, true) : -1)
    entries.push({ open: gate !== 0, interval: ns, ipv: s32(ipv), maxOctets: s32(octets) })
  })
  return entries
}

/** The schedule of an instance. */
function keptEntries(m: Int32Array, act: number): Entry[] {
  const p = m[(act + BLOCK) >> 2]
  return Array.from({ length: m[(p + Gate.GATE_COUNT) >> 2] }, (_, i) => {
    const w = (p + Gate.GATE_ENTRIES + i * Gate.GATE_ENTRY_SIZE) >> 2
    return { open: m[w] !== 0, interval: m[w + 1] >>> 0, ipv: m[w + 2], maxOctets: m[w + 3] }
  })
}

function setU64(m: Int32Array, p: number, v: number): void {
  m[p >> 2] = (v % 0x1_0000_0000) | 0
  m[(p >> 2) + 1] = Math.floor(v / 0x1_0000_0000)
}

/** gate_get_start_time: the base time, or the beginning of the next cycle after it. Nanoseconds. */
function startOf(base: number, cycle: number, now: number): number {
  return base > now ? base : base + (Math.floor((now - base) / cycle) + 1) * cycle
}

export const gate: ActionKind = {
  name: 'gate',
  id: TCA_ID_GATE,
  parms: TCA_GATE_PARMS,
  parmsLen: TC_GEN_LEN,

  parse(args, b) {
    args.next()
    let [index, priority, base, cycle, cycleExt, clock, flags] = [0, -1, 0, 0, 0, -1, 0]
    const entries: Entry[] = []
    for (; args.more; args.skip()) {
      if (args.matches('index')) {
        args.next()
        index = args.u32(10)
        if (index < 0) throw args.invarg('index')
      } else if (args.matches('priority')) {
        args.next()
        priority = args.int()
        if (Number.isNaN(priority)) throw args.invarg('priority')
      } else if (args.matches('base-time')) base = parseTime(args, 'base-time')
      else if (args.matches('cycle-time')) cycle = parseTime(args, 'cycle-time')
      else if (args.matches('cycle-time-ext')) cycleExt = parseTime(args, 'cycle-time-ext')
      else if (args.matches('clockid')) {
        const name = args.next().toUpperCase().replace('CLOCK_', '')
        clock = CLOCKS.find(([n]) => n === name)?.[1] ?? -1
        if (clock < 0) throw args.invarg('clockid')
      } else if (args.matches('flags')) {
        args.next()
        flags = args.u32()
        if (flags < 0) throw args.invarg('flags')
      } else if (args.matches('sched-entry')) entries.push(parseEntry(args))
      else break
    }
    const control = controlOr(args, TC_ACT_PIPE)
    if (entries.length === 0 && !index) throw args.fail('gate: must add at least one entry')
    putParms(b, TCA_GATE_PARMS, index, control)
    if (priority !== -1) b.attrU32(TCA_GATE_PRIORITY, priority)
    if (flags) b.attrU32(TCA_GATE_FLAGS, flags)
    if (base) b.attrU64(TCA_GATE_BASE_TIME, base)
    if (cycle) b.attrU64(TCA_GATE_CYCLE_TIME, cycle)
    if (cycleExt) b.attrU64(TCA_GATE_CYCLE_TIME_EXT, cycleExt)
    if (clock >= 0) b.attrU32(TCA_GATE_CLOCKID, clock)
    putEntries(b, entries)
  },

  print(d, o, end, out) {
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_GATE_PARMS]
    if (!parms) return
    const s32 = (type: number): number => (attrs[type] ? d.getInt32(attrs[type], true) : -1)
    const priority = s32(TCA_GATE_PRIORITY)
    out.text('\n')
    if (priority !== -1) out.num('priority', '\tpriority %-8d', priority)
    else {
      out.text('\tpriority wildcard')
      out.num('priority', null, -1)
    }
    const clock = s32(TCA_GATE_CLOCKID)
    out.str('clockid', '\tclockid %s', CLOCKS.find(([, n]) => n === clock)?.[0] ?? 'invalid')
    if (attrs[TCA_GATE_FLAGS]) out.hex0x('flags', '\tflags %#x', d.getUint32(attrs[TCA_GATE_FLAGS], true))
    out.text('\n')
    printTimes(d, out)
    const list = attrs[TCA_GATE_ENTRY_LIST]
    if (list) {
      out.nl()
      out.text('\tschedule:')
      out.nl()
      if (out.json) out.openArray('schedule')
      forEachAttr(d, list, list + attrLen(d, list), (_type, p, len) => printEntry(d, p, len, out))
      if (out.json) out.closeArray()
    }
    printControl(out, '\t', controlOf(d, parms))
    out.num('index', '\n\t index %u', genIndex(d, parms))
    out.num('ref', ' ref %d', genRefcnt(d, parms))
    out.num('bind', ' bind %d', genBindcnt(d, parms))
    if (out.stats && attrs[TCA_GATE_TM]) printTm(d, attrs[TCA_GATE_TM], out)
    out.text('\n')
  },

  init(c, act, d, o, end, old) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_GATE_PARMS]
    const clock = attrs[TCA_GATE_CLOCKID] ? d.getInt32(attrs[TCA_GATE_CLOCKID], true) : CLOCK_TAI
    if (!CLOCKS.some(([, n]) => n === clock)) throw new NetlinkError(EINVAL, "Invalid 'clockid'")
    const u64 = (type: number): number => (attrs[type] ? getU64(d, attrs[type]) : 0)
    const u32 = (type: number, none: number): number => (attrs[type] ? d.getInt32(attrs[type], true) : none)
    checkControl(genAction(d, parms))
    const said = readEntries(d, attrs[TCA_GATE_ENTRY_LIST])
    const entries = said.length === 0 && old !== 0 ? keptEntries(m, old) : said
    const round = entries.reduce((sum, e) => sum + e.interval, 0)
    const cycle = u64(TCA_GATE_CYCLE_TIME) || round
    // A schedule without entries, only with a cycle time, is one that Linux 6.1 takes and then stumbles over.
    if (round === 0) throw new NetlinkError(EINVAL, 'gate: the schedule needs an entry')
    const size = blockSize(entries.length)
    const p = alloc(c.a, size, TAG_PARAMS)
    m[(p + Gate.GATE_COUNT) >> 2] = entries.length
    m[(p + Gate.GATE_PRIORITY) >> 2] = u32(TCA_GATE_PRIORITY, -1)
    m[(p + Gate.GATE_CLOCKID) >> 2] = clock
    m[(p + Gate.GATE_FLAGS) >> 2] = u32(TCA_GATE_FLAGS, 0)
    setU64(m, p + Gate.GATE_BASE_TIME, u64(TCA_GATE_BASE_TIME))
    setU64(m, p + Gate.GATE_CYCLE_TIME, cycle)
    setU64(m, p + Gate.GATE_START, startOf(u64(TCA_GATE_BASE_TIME), cycle, c.now() * 1e6))
    setU64(m, p + Gate.GATE_ROUND, round)
    setU64(m, p + Gate.GATE_CYCLE_TIME_EXT, u64(TCA_GATE_CYCLE_TIME_EXT))
    for (const [i, e] of entries.entries()) {
      const w = (p + Gate.GATE_ENTRIES + i * Gate.GATE_ENTRY_SIZE) >> 2
      m[w] = e.open ? 1 : 0
      m[w + 1] = e.interval
      m[w + 2] = e.ipv
      m[w + 3] = e.maxOctets
    }
    m[(act + BLOCK) >> 2] = p
    try {
      setControl(c, act, genAction(d, parms))
    } catch (e) {
      freeRcu(c.a, p, size, TAG_PARAMS)
      throw e
    }
  },

  cleanup(c, act) {
    dropControl(c, act)
    const p = c.a.m[(act + BLOCK) >> 2]
    freeRcu(c.a, p, blockSize(c.a.m[(p + Gate.GATE_COUNT) >> 2]), TAG_PARAMS)
  },

  compile(c, act) {
    c.emit(OP_GATE, c.a.m[(act + BLOCK) >> 2], c.counter(act))
  },

  offload(_m, _act, ids) {
    ids.push(FLOW_ACTION_GATE)
  },

  dump(c, act, b) {
    const { m, d } = c.a
    const p = m[(act + BLOCK) >> 2]
    dumpParms(c, act, b, TCA_GATE_PARMS)
    b.attrU64(TCA_GATE_BASE_TIME, getU64(d, p + Gate.GATE_BASE_TIME))
    b.attrU64(TCA_GATE_CYCLE_TIME, getU64(d, p + Gate.GATE_CYCLE_TIME))
    b.attrU64(TCA_GATE_CYCLE_TIME_EXT, getU64(d, p + Gate.GATE_CYCLE_TIME_EXT))
    b.attrU32(TCA_GATE_CLOCKID, m[(p + Gate.GATE_CLOCKID) >> 2])
    b.attrU32(TCA_GATE_FLAGS, m[(p + Gate.GATE_FLAGS) >> 2])
    b.attrU32(TCA_GATE_PRIORITY, m[(p + Gate.GATE_PRIORITY) >> 2])
    const list = b.nest(TCA_GATE_ENTRY_LIST | NLA_F_NESTED)
    for (let i = 0; i < m[(p + Gate.GATE_COUNT) >> 2]; i++) {
      const w = (p + Gate.GATE_ENTRIES + i * Gate.GATE_ENTRY_SIZE) >> 2
      const one = b.nest(TCA_GATE_ONE_ENTRY)
      b.attrU32(TCA_GATE_ENTRY_INDEX, i)
      if (m[w]) b.attrFlag(TCA_GATE_ENTRY_GATE)
      b.attrU32(TCA_GATE_ENTRY_INTERVAL, m[w + 1])
      b.attrU32(TCA_GATE_ENTRY_MAX_OCTETS, m[w + 3])
      b.attrU32(TCA_GATE_ENTRY_IPV, m[w + 2])
      b.nestEnd(one)
    }
    b.nestEnd(list)
    dumpTm(c, act, b, TCA_GATE_TM)
  },
}
