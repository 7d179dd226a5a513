// A u32 filter as tc 6.1 prints it (u32_print_opt of f_u32.c), its slips in JSON included: objects that are opened for a
// key that -p knows by name are not closed.

import { attrLen, attrString, getU64, parseAttrs } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_u32.ts'
import {
  TCA_CLS_FLAGS_IN_HW,
  TCA_CLS_FLAGS_NOT_IN_HW,
  TCA_CLS_FLAGS_SKIP_HW,
  TCA_CLS_FLAGS_SKIP_SW,
} from '../wire/tcm.ts'
import { printActionList } from './action_list.ts'
import { formatClassid } from './handle_text.ts'
import type { Printer } from './printer.ts'

const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
const attrs = new Int32Array(Tca.TCA_U32_MAX + 1)

/** `htid:hash:node` in hexadecimal, zeros left out (sprint_u32_handle). */
function formatHandle(h: number): string {
  if (h === 0) return 'none'
  const [htid, hash, node] = [h >>> 20, Tca.u32Hash(h), Tca.u32Node(h)]
  return `${htid ? `${htid.toString(16)}:` : ''}${hash ? hash.toString(16) : ''}${node ? `:${node.toString(16)}` : ''}`
}

/** The prefix length that a mask stands for, -1 when it is none. */
function maskBits(mask: number): number {
  const bits = Math.clz32(~mask)
  return mask === (bits === 0 ? 0 : -1 << (32 - bits)) ? bits : -1
}

/** One key of the selector at `o`. */
function printKey(d: DataView, o: number, protocol: number, out: Printer): void {
  const mask = d.getInt32(o + Tca.SELKEY_MASK, false)
  const val = d.getUint32(o + Tca.SELKEY_VAL, false)
  const off = d.getInt32(o + Tca.SELKEY_OFF, true)
  out.openObject('match')
  if (out.pretty && (protocol === ETH_P_IP || protocol === ETH_P_IPV6)) {
    if (!printNamed(d, o, mask >>> 0, val, off, protocol === ETH_P_IP, out)) out.closeObject()
    return
  }
  out.nl()
  out.hex('value', '  match %08x', val)
  out.hex('mask', '/%08x ', mask >>> 0)
  out.str('offmask', 'at %s', d.getInt32(o + Tca.SELKEY_OFFMASK, true) !== 0 ? 'nexthdr+' : '')
  out.num('off', '%d', off)
  out.closeObject()
}

/** print_ipv4 and print_ipv6. True where tc returns without closing the object. */
function printNamed(
  d: DataView,
  o: number,
  mask: number,
  val: number,
  off: number,
  isIpv4: boolean,
  out: Printer,
): boolean {
  if (off === 0 && mask === 0x0f000000) {
    out.nl()
    out.num('ip_ihl', '  match IP ihl %u', val >>> 24)
  } else if (off === 0 && mask === 0x00ff0000) {
    out.nl()
    out.hex0x('ip_dsfield', '  match IP dsfield %#x', val >>> 16)
  } else if (off === 8 && mask === 0x00ff0000) {
    out.nl()
    out.num('ip_protocol', '  match IP protocol %d', val >>> 16)
  } else if ((off === 12 || off === 16) && maskBits(mask | 0) >= 0) {
    out.nl()
    out.text(off === 12 ? '  match IP src ' : '  match IP dst ')
    out.openObject(off === 12 ? 'src' : 'dst')
    out.str('address', '%s', out.inet(d, o + Tca.SELKEY_VAL, 4))
    out.num('prefixlen', '/%d', maskBits(mask | 0))
    out.closeObject()
  } else if (off === 20) return printPorts(mask, val, isIpv4, out)
  else return false
  return true
}

function printPorts(mask: number, val: number, isIpv4: boolean, out: Printer): boolean {
  const low = isIpv4 ? 'dport' : 'sport'
  const high = isIpv4 ? 'sport' : 'dport'
  if (mask === 0x0000ffff) {
    if (!isIpv4) out.nl()
    out.num(low, isIpv4 ? 'match dport %u' : '  match sport %u', val & 0xffff)
  } else if (mask === 0xffff0000) {
    if (isIpv4) out.nl()
    out.num(high, isIpv4 ? '  match sport %u' : 'match dport %u', val >>> 16)
  } else if (mask === 0xffffffff) {
    out.nl()
    out.num(low, `  match ${low} %u, `, val & 0xffff)
    out.num(high, `match ${high} %u`, val >>> 16)
  } else return false
  return true
}

function printFlags(flags: number, out: Printer): void {
  if (flags & TCA_CLS_FLAGS_SKIP_HW) out.bool('skip_hw', 'skip_hw ', true)
  if (flags & TCA_CLS_FLAGS_SKIP_SW) out.bool('skip_sw', 'skip_sw ', true)
  if (flags & TCA_CLS_FLAGS_IN_HW) out.bool('in_hw', 'in_hw ', true)
  else if (flags & TCA_CLS_FLAGS_NOT_IN_HW) out.bool('not_in_hw', 'not_in_hw ', true)
}

/** Prints the options whose payload is at `o`. */
export function printU32(d: DataView, o: number, handle: number, protocol: number, out: Printer): void {
  parseAttrs(d, o, o + attrLen(d, o), attrs, Tca.TCA_U32_MAX)
  const u32 = (type: number): number => d.getUint32(attrs[type], true)
  const sel = attrs[Tca.TCA_U32_SEL]
  const pcnt = attrs[Tca.TCA_U32_PCNT]
  if (handle) out.str('fh', 'fh %s ', formatHandle(handle))
  if (Tca.u32Node(handle)) out.num('order', 'order %d ', Tca.u32Node(handle))
  if (attrs[Tca.TCA_U32_DIVISOR]) out.num('ht_divisor', 'ht divisor %d ', u32(Tca.TCA_U32_DIVISOR))
  else if (attrs[Tca.TCA_U32_HASH]) {
    out.hex('key_ht', 'key ht %x ', u32(Tca.TCA_U32_HASH) >>> 20)
    out.hex('bkt', 'bkt %x ', Tca.u32Hash(u32(Tca.TCA_U32_HASH)))
  }
  const terminal = sel !== 0 && (d.getUint8(sel + Tca.SEL_FLAGS) & Tca.TC_U32_TERMINAL) !== 0
  if (attrs[Tca.TCA_U32_CLASSID]) {
    if (terminal) out.text('*')
    out.str('flowid', 'flowid %s ', formatClassid(u32(Tca.TCA_U32_CLASSID)))
  } else if (terminal) out.text('terminal flowid ')
  if (attrs[Tca.TCA_U32_LINK]) out.str('link', 'link %s ', formatHandle(u32(Tca.TCA_U32_LINK)))
  if (attrs[Tca.TCA_U32_FLAGS]) printFlags(u32(Tca.TCA_U32_FLAGS), out)
  const counted = sel !== 0 && pcnt !== 0 && out.stats > 0
  if (counted) {
    out.num('rule_hit', '(rule hit %llu ', getU64(d, pcnt))
    out.num('success', 'success %llu)', getU64(d, pcnt + 8))
  }
  const mark = attrs[Tca.TCA_U32_MARK]
  if (mark) {
    out.nl()
    out.hex0x('fwmark_value', '  mark 0x%04x ', d.getUint32(mark, true))
    out.hex0x('fwmark_mask', '0x%04x ', d.getUint32(mark + 4, true))
    out.num('fwmark_success', '(success %d)', d.getInt32(mark + 8, true))
  }
  if (sel) {
    for (let i = 0; i < d.getUint8(sel + Tca.SEL_NKEYS); i++) {
      printKey(d, sel + Tca.SEL_KEYS + i * Tca.SELKEY_SIZE, protocol, out)
      if (counted) out.num('success', ' (success %llu ) ', getU64(d, pcnt + 16 + 8 * i))
    }
    printWays(d, sel, out)
  }
  if (attrs[Tca.TCA_U32_INDEV]) {
    out.nl()
    out.str('input_dev', '  input dev %s', attrString(d, attrs[Tca.TCA_U32_INDEV]))
    out.nl()
  }
  if (attrs[Tca.TCA_U32_ACT]) printActionList(d, attrs[Tca.TCA_U32_ACT], out, 0, true)
}

/** Where the walk goes from the node: offsets and the hash of the next table. */
function printWays(d: DataView, sel: number, out: Printer): void {
  const flags = d.getUint8(sel + Tca.SEL_FLAGS)
  if (flags & (Tca.TC_U32_VAROFFSET | Tca.TC_U32_OFFSET)) {
    out.nl()
    out.str(null, '%s', '    offset ')
    if (flags & Tca.TC_U32_VAROFFSET) {
      out.hex('offset_mask', '%04x', d.getUint16(sel + Tca.SEL_OFFMASK, false))
      out.num('offset_shift', '>>%d ', d.getUint8(sel + Tca.SEL_OFFSHIFT))
      out.num('offset_off', 'at %d ', d.getInt16(sel + Tca.SEL_OFFOFF, true))
    }
    if (d.getUint16(sel + Tca.SEL_OFF, true)) out.num('plus', 'plus %d ', d.getUint16(sel + Tca.SEL_OFF, true))
  }
  if (flags & Tca.TC_U32_EAT) out.str(null, '%s', ' eat ')
  const hmask = d.getUint32(sel + Tca.SEL_HMASK, false)
  if (hmask) {
    out.nl()
    out.hex('hash_mask', '    hash mask %08x ', hmask)
    out.num('hash_off', 'at %d ', d.getInt16(sel + Tca.SEL_HOFF, true))
  }
}
