// What `tc filter show`, `tc chain show` and `tc monitor` print of a filter or chain (print_filter of tc_filter.c).

import { attrString, msgFlags, msgLen, msgType, NLM_F_CREATE, NLM_F_EXCL, parseAttrs, viewOf } from '../wire/netlink.ts'
import {
  infoPref,
  infoProtocol,
  RTM_DELCHAIN,
  RTM_DELTFILTER,
  RTM_GETTFILTER,
  RTM_NEWCHAIN,
  RTM_NEWTFILTER,
  TC_H_CLSACT,
  TC_H_MIN_EGRESS,
  TC_H_MIN_INGRESS,
  TC_H_ROOT,
  TCA_CHAIN,
  TCA_EXT_WARN_MSG,
  TCA_KIND,
  TCA_OPTIONS,
  TCA_STATS2,
  TCM_IFINDEX_MAGIC_BLOCK,
  TCMSG_ATTRS,
  tcmBlockIndex,
  tcmHandle,
  tcmIfindex,
  tcmInfo,
  tcmParent,
} from '../wire/tcm.ts'
import { classifier } from './classifier.ts'
import { formatClassid } from './handle_text.ts'
import type { Printer } from './printer.ts'
import { formatProtocol } from './protocol_text.ts'
import { printDevice } from './qdisc.ts'
import { printStats2 } from './stats_text.ts'

/** Parents of the two hooks of clsact. */
export const INGRESS = ((TC_H_CLSACT & 0xffff0000) | TC_H_MIN_INGRESS) >>> 0
export const EGRESS = ((TC_H_CLSACT & 0xffff0000) | TC_H_MIN_EGRESS) >>> 0

/** What a listing is narrowed to, and therefore does not repeat; 0 (chain: -1) where it is not. */
export interface FilterFilter {
  readonly ifindex: number
  readonly block: number
  readonly parent: number
  readonly protocol: number
  readonly pref: number
  readonly chain: number
}

export const EVERY_FILTER: FilterFilter = { ifindex: 0, block: 0, parent: 0, protocol: 0, pref: 0, chain: -1 }

const attrs = new Int32Array(TCA_EXT_WARN_MSG + 1)

/** Prints one RTM_*TFILTER or RTM_*CHAIN message (print_filter). */
export function printFilter(m: Uint8Array, out: Printer, f: FilterFilter): void {
  const d = viewOf(m)
  const type = msgType(d)
  const flags = msgFlags(d)
  const filter = type === RTM_NEWTFILTER || type === RTM_DELTFILTER || type === RTM_GETTFILTER
  parseAttrs(d, TCMSG_ATTRS, msgLen(d), attrs, TCA_EXT_WARN_MSG)
  const kind = attrs[TCA_KIND] ? attrString(d, attrs[TCA_KIND]) : ''
  const options = attrs[TCA_OPTIONS]
  const stats = attrs[TCA_STATS2]
  out.openObject()
  if (type === RTM_DELTFILTER || type === RTM_DELCHAIN) out.bool('deleted', 'deleted ', true)
  if ((type === RTM_NEWTFILTER || type === RTM_NEWCHAIN) && flags & NLM_F_CREATE) {
    if (flags & NLM_F_EXCL) out.bool('added', 'added ', true)
    else out.bool('replaced', 'replaced ', true)
  }
  out.text(filter ? 'filter ' : 'chain ')
  printPlace(d, out, f)
  const info = tcmInfo(d)
  if (info && filter) {
    const protocol = infoProtocol(info)
    const pref = infoPref(info)
    if (protocol && f.protocol !== protocol) out.str('protocol', 'protocol %s ', formatProtocol(protocol))
    if (pref && f.pref !== pref) out.num('pref', 'pref %u ', pref)
  }
  if (kind) out.str('kind', '%s ', kind)
  if (attrs[TCA_CHAIN]) {
    const chain = d.getUint32(attrs[TCA_CHAIN], true)
    if (f.chain !== chain) out.num('chain', 'chain %u ', chain)
  }
  if (kind && options) {
    out.openObject('options')
    classifier(kind).print(d, options, tcmHandle(d), infoProtocol(info), out)
    out.closeObject()
  }
  out.nl()
  if (out.stats && stats) {
    printStats2(d, stats, out, ' ')
    out.nl()
  }
  out.closeObject()
}

function printPlace(d: DataView, out: Printer, f: FilterFilter): void {
  if (tcmIfindex(d) >>> 0 === TCM_IFINDEX_MAGIC_BLOCK) {
    if (f.block !== tcmBlockIndex(d)) out.num('block', 'block %u ', tcmBlockIndex(d))
    return
  }
  if (f.ifindex !== tcmIfindex(d)) printDevice(out, tcmIfindex(d))
  const parent = tcmParent(d)
  if (f.parent !== 0 && f.parent === parent) return
  if (parent === TC_H_ROOT) out.bool('root', 'root ', true)
  else if (parent === INGRESS) out.bool('ingress', 'ingress ', true)
  else if (parent === EGRESS) out.bool('egress', 'egress ', true)
  else out.str('parent', 'parent %s ', formatClassid(parent))
}
