// Statistics as `tc -s` prints them: TCA_STATS2 of a qdisc, TCA_ACT_STATS of an action (print_tcstats2_attr), and the
// ages of an action's struct tcf_t (print_tm).
//
// struct gnet_stats_basic { u64 bytes; u32 packets; }, struct gnet_stats_queue { u32 qlen, backlog, drops, requeues,
// overlimits; }, TCA_STATS_PKT64: u64 packets, where 32 bits are not enough.

import { attrLen, getU64, parseAttrs } from '../wire/netlink.ts'
import {
  TCA_STATS_BASIC,
  TCA_STATS_BASIC_HW,
  TCA_STATS_PKT64,
  TCA_STATS_QUEUE,
  TCA_STATS_RATE_EST,
  TCA_STATS_RATE_EST64,
} from '../wire/tcm.ts'
import type { Printer } from './printer.ts'

/** tcf_t counts hundredths of a second. */
const USER_HZ = 100

const LAST = 8
const attrs = new Int32Array(LAST + 1)

/** Prints the nest whose payload begins at `o`; in text every line begins with `prefix`. */
export function printStats2(d: DataView, o: number, out: Printer, prefix: string): void {
  parseAttrs(d, o, o + attrLen(d, o), attrs, LAST)
  const basic = attrs[TCA_STATS_BASIC]
  const queue = attrs[TCA_STATS_QUEUE]
  if (basic) {
    const packets64 = attrs[TCA_STATS_PKT64] ? getU64(d, attrs[TCA_STATS_PKT64]) : 0
    out.text(prefix)
    out.num('bytes', 'Sent %llu bytes', getU64(d, basic))
    out.num('packets', ' %u pkt', packets64 || d.getUint32(basic + 8, true))
  }
  if (queue) {
    out.num('drops', ' (dropped %u', d.getUint32(queue + 8, true))
    out.num('overlimits', ', overlimits %u', d.getUint32(queue + 16, true))
    out.num('requeues', ' requeues %u) ', d.getUint32(queue + 12, true))
  }
  const hw = attrs[TCA_STATS_BASIC_HW]
  if (hw) printHardware(d, basic, hw, out, prefix)
  const rate = attrs[TCA_STATS_RATE_EST64] || attrs[TCA_STATS_RATE_EST]
  if (rate) {
    const wide = attrs[TCA_STATS_RATE_EST64] !== 0
    const bps = wide ? getU64(d, rate) : d.getUint32(rate, true)
    out.text(`\n${prefix}`)
    out.num('rate', null, bps)
    if (!out.json) out.rate(null, 'rate %s', bps)
    out.num('pps', ' %upps', wide ? getU64(d, rate + 8) : d.getUint32(rate + 4, true))
  }
  if (queue) {
    if (!attrs[TCA_STATS_RATE_EST]) out.nl()
    out.text(prefix)
    out.size('backlog', 'backlog %s', d.getUint32(queue + 4, true))
    out.num('qlen', ' %up', d.getUint32(queue, true))
    out.text(` requeues ${d.getUint32(queue + 12, true)}`)
  }
}

function printHardware(d: DataView, basic: number, hw: number, out: Printer, prefix: string): void {
  const bytes = getU64(d, hw)
  const packets = d.getUint32(hw + 8, true)
  if (bytes === 0 && packets === 0) return
  if (basic) {
    const allBytes = getU64(d, basic)
    const allPackets = d.getUint32(basic + 8, true)
    if (allBytes >= bytes && allPackets >= packets) {
      out.nl()
      out.text(prefix)
      out.num('sw_bytes', 'Sent software %llu bytes', allBytes - bytes)
      out.num('sw_packets', ' %u pkt', allPackets - packets)
    }
  }
  out.nl()
  out.text(prefix)
  out.num('hw_bytes', 'Sent hardware %llu bytes', bytes)
  out.num('hw_packets', ' %u pkt', packets)
}

/** Prints the ages of the struct tcf_t at `o`, those that are not zero. */
export function printTm(d: DataView, o: number, out: Printer): void {
  const age = (at: number): number => getU64(d, o + at)
  const seconds = (at: number): number => Math.floor(age(at) / USER_HZ) >>> 0
  if (age(0)) out.num('installed', ' installed %u sec', seconds(0))
  if (age(8)) out.num('last_used', ' used %u sec', seconds(8))
  if (age(24)) out.num('first_used', ' firstused %u sec', seconds(24))
  if (age(16)) out.num('expires', ' expires %u sec', seconds(16))
}
