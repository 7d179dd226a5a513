// The words of police, and the message that tc makes of them (act_parse_police).

import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import type { Builder } from '../wire/netlink.ts'
import {
  TC_POLICE_RECLASSIFY,
  TCA_POLICE_AVRATE,
  TCA_POLICE_PEAKRATE,
  TCA_POLICE_PEAKRATE64,
  TCA_POLICE_PKTBURST64,
  TCA_POLICE_PKTRATE64,
  TCA_POLICE_RATE,
  TCA_POLICE_RATE64,
  TCA_POLICE_RESULT,
  TCA_POLICE_TBF,
} from '../wire/tca_action.ts'
import { readControl, verdictOf } from './control.ts'
import * as Tbf from './police_tbf.ts'
import { LINKLAYER_ATM, LINKLAYER_ETHERNET, parseRate, parseSize, rateTable, xmitTime } from './rate_text.ts'

const RTAB_LEN = 1024
const U32_MAX = 0xffffffff

interface Read {
  index: number
  burst: number
  burstCell: number
  mtu: number
  mtuCell: number
  mpu: number
  rate: number
  avrate: number
  peakrate: number
  exceed: number
  conform: number
  overhead: number
  linklayer: number
  pps: number
  ppsBurst: number
}

/** Verdicts that stand without conform-exceed: those of who exceeds. */
const EXCEED = ['reclassify', 'drop', 'shot', 'continue', 'pass', 'ok', 'pipe', 'goto']

// `size[/cell]`: the logarithm of the cell, -1 without one.
function sizeAndCell(args: Args, what: string): readonly [size: number, cellLog: number] {
  const [text, cellText] = args.word.split('/', 2)
  const size = parseSize(text)
  if (Number.isNaN(size)) throw args.invarg(what)
  if (cellText === undefined) return [size, -1]
  const cell = args.number(cellText, 0, U32_MAX)
  if (cell <= 0 || cell & (cell - 1)) throw args.invarg(what)
  return [size, 31 - Math.clz32(cell)]
}

function checked(args: Args, v: number, what: string): number {
  if (Number.isNaN(v) || v < 0) throw args.invarg(what)
  return v
}

function u64(args: Args, what: string): number {
  const v = args.u64(10)
  if (v < 0n) throw args.invarg(what)
  return Number(v)
}

function exceedControl(args: Args, numbers: boolean): number {
  const control = readControl(args, numbers)
  if (typeof control !== 'number') throw args.fail(control.wrong)
  return control
}

// `EXCEED[/CONFORM]` in one word, or with spaces around the slash. tc says nothing when a half of a word is no verdict.
function conformExceed(args: Args, r: Read): void {
  const slash = args.word.indexOf('/')
  if (slash >= 0) {
    const exceed = verdictOf(args.word.slice(0, slash), true)
    const conform = verdictOf(args.word.slice(slash + 1), true)
    if (Number.isNaN(exceed) || Number.isNaN(conform)) throw new LanguageError('', 1, args.word)
    r.exceed = exceed
    r.conform = conform
    args.skip()
    return
  }
  r.exceed = exceedControl(args, true)
  if (!args.is('/')) return
  args.next()
  r.conform = exceedControl(args, true)
}

// One word and its value; false when it is none of police's. Control words leave `args` behind themselves.
function parseWord(args: Args, r: Read): boolean {
  const once = (v: number, name: string): void => {
    args.next()
    if (v) throw args.duparg(name)
  }
  if (args.matches('index')) {
    args.next()
    r.index = checked(args, args.u32(10), 'index')
  } else if (args.matches('burst') || args.is('buffer') || args.is('maxburst')) {
    once(r.burst, 'buffer/burst')
    ;[r.burst, r.burstCell] = sizeAndCell(args, 'buffer')
  } else if (args.is('mtu') || args.is('minburst')) {
    once(r.mtu, 'mtu/minburst')
    ;[r.mtu, r.mtuCell] = sizeAndCell(args, 'mtu')
  } else if (args.is('mpu')) {
    once(r.mpu, 'mpu')
    r.mpu = checked(args, parseSize(args.word), 'mpu')
  } else if (args.is('rate')) {
    once(r.rate, 'rate')
    r.rate = checked(args, parseRate(args.word), 'rate')
  } else if (args.is('avrate')) {
    once(r.avrate, 'avrate')
    r.avrate = checked(args, parseRate(args.word), 'avrate')
    if (r.avrate > U32_MAX) throw args.invarg('avrate')
  } else if (args.matches('peakrate')) {
    once(r.peakrate, 'peakrate')
    r.peakrate = checked(args, parseRate(args.word), 'peakrate')
  } else if (EXCEED.some((w) => args.matches(w))) {
    r.exceed = exceedControl(args, false)
    return true
  } else if (args.is('conform-exceed')) {
    args.next()
    conformExceed(args, r)
    return true
  } else if (args.matches('overhead')) {
    args.next()
    r.overhead = checked(args, args.u16(10), 'overhead')
  } else if (args.matches('linklayer')) {
    args.next()
    if (args.matches('ethernet')) r.linklayer = LINKLAYER_ETHERNET
    else if (args.matches('atm') || args.matches('adsl')) r.linklayer = LINKLAYER_ATM
    else throw args.invarg('linklayer')
  } else if (args.matches('pkts_rate')) {
    once(r.pps, 'pkts_rate')
    r.pps = u64(args, 'pkts_rate')
  } else if (args.matches('pkts_burst')) {
    once(r.ppsBurst, 'pkts_burst')
    r.ppsBurst = u64(args, 'pkts_burst')
  } else return false
  args.skip()
  return true
}

function check(args: Args, r: Read): void {
  if (r.rate && r.avrate) throw args.fail('')
  if (!r.rate && !r.avrate && !r.index && !r.mtu && !r.pps)
    throw args.fail("'rate' or 'avrate' or 'mtu' or 'pkts_rate' MUST be specified.")
  if (r.rate && !r.burst) throw args.fail("'burst' requires 'rate'.")
  if (r.pps && !r.ppsBurst) throw args.fail("'pkts_burst' requires 'pkts_rate'.")
  if (r.pps && r.rate) throw args.fail("'rate' and 'pkts_rate' are not allowed in same action.")
  if (!r.peakrate) return
  if (!r.rate) throw args.fail("'peakrate' requires 'rate'.")
  if (!r.mtu) throw args.fail("'mtu' is required, if 'peakrate' is requested.")
}

const rtab = new Uint32Array(256)
const ptab = new Uint32Array(256)

// A ratespec, and its table into `table`.
function putSpec(b: Builder, o: number, r: Read, rate: number, cell: number, table: Uint32Array): void {
  const { d } = b
  const cellLog = rateTable(rate, cell, r.mtu, r.mpu & 0xffff, r.linklayer, (i, ticks) => {
    table[i] = ticks
  })
  d.setUint8(o + Tbf.SPEC_CELL_LOG, cellLog)
  d.setUint8(o + Tbf.SPEC_LINKLAYER, r.linklayer)
  d.setUint16(o + Tbf.SPEC_OVERHEAD, r.overhead, true)
  d.setInt16(o + Tbf.SPEC_CELL_ALIGN, -1, true)
  d.setUint16(o + Tbf.SPEC_MPU, r.mpu, true)
  d.setUint32(o + Tbf.SPEC_RATE, Math.min(rate, U32_MAX), true)
}

function putTable(b: Builder, type: number, table: Uint32Array): void {
  const o = b.attrRoom(type, RTAB_LEN)
  for (let i = 0; i < 256; i++) b.d.setUint32(o + 4 * i, table[i], true)
}

/** Reads the words behind `police` and writes the content of its options. */
export function parsePolice(args: Args, b: Builder): void {
  const r: Read = {
    index: 0,
    burst: 0,
    burstCell: -1,
    mtu: 0,
    mtuCell: -1,
    mpu: 0,
    rate: 0,
    avrate: 0,
    peakrate: 0,
    exceed: TC_POLICE_RECLASSIFY,
    conform: 0,
    overhead: 0,
    linklayer: LINKLAYER_ETHERNET,
    pps: 0,
    ppsBurst: 0,
  }
  let ok = 0
  while (args.more && parseWord(args, r)) ok++
  if (ok === 0) throw args.fail('')
  check(args, r)
  const o = b.attrRoom(TCA_POLICE_TBF, Tbf.LEN)
  for (let i = 0; i < Tbf.LEN; i++) b.u8s[o + i] = 0
  b.d.setUint32(o + Tbf.INDEX, r.index, true)
  b.d.setInt32(o + Tbf.ACTION, r.exceed, true)
  b.d.setUint32(o + Tbf.MTU, r.mtu, true)
  if (r.rate) {
    putSpec(b, o + Tbf.RATE, r, r.rate, r.burstCell, rtab)
    b.d.setUint32(o + Tbf.BURST, xmitTime(r.rate, r.burst), true)
  }
  if (r.peakrate) putSpec(b, o + Tbf.PEAKRATE, r, r.peakrate, r.mtuCell, ptab)
  if (r.rate) {
    putTable(b, TCA_POLICE_RATE, rtab)
    if (r.rate > U32_MAX) b.attrU64(TCA_POLICE_RATE64, r.rate)
  }
  if (r.peakrate) {
    putTable(b, TCA_POLICE_PEAKRATE, ptab)
    if (r.peakrate > U32_MAX) b.attrU64(TCA_POLICE_PEAKRATE64, r.peakrate)
  }
  if (r.avrate) b.attrU32(TCA_POLICE_AVRATE, r.avrate)
  if (r.conform) b.attrU32(TCA_POLICE_RESULT, r.conform >>> 0)
  if (r.pps) {
    b.attrU64(TCA_POLICE_PKTRATE64, r.pps)
    b.attrU64(TCA_POLICE_PKTBURST64, xmitTime(r.pps, r.ppsBurst))
  }
}
