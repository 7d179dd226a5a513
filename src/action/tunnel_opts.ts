// Options of a tunnel: geneve_opts (a list of class:type:data), vxlan_opts (group policy), erspan_opts (version and what
// goes with it). In a tun_info they stand as the kernel has them behind its ip_tunnel_info:
//
//   geneve  struct geneve_opt[]: be16 class, u8 type, u8 length in words (5 bits), data
//   vxlan   u32 gbp, host order
//   erspan  u32 version, host order; then for version 1 be32 index, for version 2 struct erspan_md2: be32 timestamp,
//           be16 sgt, hwid's upper 2 bits in the low bits of a byte, dir in bit 3 and hwid's lower 4 bits above it in the last

import type { Arena } from '../memory/arena.ts'
import {
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUNNEL_ERSPAN_OPT,
  TUNNEL_GENEVE_OPT,
  TUNNEL_VXLAN_OPT,
} from '../memory/layout/action.ts'
import { ENC_OPTS_ERSPAN, ENC_OPTS_GENEVE, ENC_OPTS_VXLAN } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { attrLen, type Builder, forEachAttr, NLA_F_NESTED, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import {
  TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_DIR,
  TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID,
  TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_INDEX,
  TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_VER,
  TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS,
  TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA,
  TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE,
  TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP,
  TCA_TUNNEL_KEY_ENC_OPTS,
  TCA_TUNNEL_KEY_ENC_OPTS_ERSPAN,
  TCA_TUNNEL_KEY_ENC_OPTS_GENEVE,
  TCA_TUNNEL_KEY_ENC_OPTS_VXLAN,
} from '../wire/tca_action.ts'
import { checkAttrs, policy } from './parms.ts'

// ---- words

/** `class:type:data[,…]`, all hexadecimal; false when they are none. */
export function parseGeneve(word: string, args: Args, b: Builder): boolean {
  const list = b.nest(TCA_TUNNEL_KEY_ENC_OPTS)
  for (const option of word.split(',').filter(Boolean)) {
    const nest = b.nest(TCA_TUNNEL_KEY_ENC_OPTS_GENEVE)
    const parts = option.split(':').filter(Boolean)
    if (parts.length > 3) return false
    if (parts.length > 0) {
      const cls = args.number(parts[0], 16, 0xffff)
      if (cls < 0) return false
      b.attrBe16(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS, cls)
    }
    if (parts.length > 1) {
      const type = args.number(parts[1], 16, 0xff)
      if (type < 0) return false
      b.attrU8(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE, type)
    }
    if (parts.length > 2) {
      const data = args.hexBytes(parts[2].slice(0, parts[2].length & ~1))
      if (!data) return false
      b.attr(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA, data)
    }
    b.nestEnd(nest)
  }
  b.nestEnd(list)
  return true
}

/** A group policy id. */
export function parseVxlan(word: string, args: Args, b: Builder): boolean {
  const list = b.nest(TCA_TUNNEL_KEY_ENC_OPTS | NLA_F_NESTED)
  const nest = b.nest(TCA_TUNNEL_KEY_ENC_OPTS_VXLAN | NLA_F_NESTED)
  const gbp = args.number(word, 0, 0xffffffff)
  if (gbp < 0) return false
  b.attrU32(TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP, gbp)
  b.nestEnd(nest)
  b.nestEnd(list)
  return true
}

/** `version:index:dir:hwid` */
export function parseErspan(word: string, args: Args, b: Builder): boolean {
  const list = b.nest(TCA_TUNNEL_KEY_ENC_OPTS | NLA_F_NESTED)
  const nest = b.nest(TCA_TUNNEL_KEY_ENC_OPTS_ERSPAN | NLA_F_NESTED)
  const parts = word.split(':').filter(Boolean)
  if (parts.length > 4) return false
  for (let i = 0; i < parts.length; i++) {
    const type = i + TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_VER
    const isIndex = type === TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_INDEX
    const v = args.number(parts[i], 0, isIndex ? 0xffffffff : 0xff)
    if (v < 0) return false
    if (isIndex) b.attrBe32(type, v)
    else b.attrU8(type, v)
  }
  b.nestEnd(nest)
  b.nestEnd(list)
  return true
}

// ---- text

const geneveAttrs = new Int32Array(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA + 1)
const vxlanAttrs = new Int32Array(TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP + 1)
const erspanAttrs = new Int32Array(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID + 1)

const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0')

// The kernel dumps all options of geneve in one nest, one after the other; each takes 20 bytes besides its data.
function printGeneve(d: DataView, o: number, end: number, out: Printer): void {
  out.openArray(out.json ? 'geneve_opts' : null)
  out.nl()
  out.text('\tgeneve_opts ')
  while (o < end) {
    let cls = 0
    let type = 0
    let data = ''
    const bytes: number[] = []
    let left = 3
    forEachAttr(d, o, end, (t, p, len) => {
      if (left-- <= 0) return
      if (t === TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS) cls = d.getUint16(p)
      else if (t === TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE) type = d.getUint8(p)
      else if (t === TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA)
        for (let i = 0; i < len; i++) {
          bytes.push(d.getUint8(p + i))
          data += hex(d.getUint8(p + i), 2)
        }
    })
    o += bytes.length + 20
    out.openObject()
    out.num('class', null, cls)
    out.num('type', null, type)
    if (out.json) out.openArray('data')
    for (const v of bytes) out.num(null, null, v)
    if (out.json) out.closeArray()
    out.closeObject()
    out.text(`${hex(cls, 4)}:${hex(type, 2)}:${data}${o < end ? ',' : ''}`)
  }
  out.closeArray()
}

function printVxlan(d: DataView, o: number, end: number, out: Printer): void {
  checkAttrs(d, o, end, vxlanAttrs, VXLAN_POLICY)
  out.nl()
  out.text('\tvxlan_opts ')
  out.openArray(out.json ? 'vxlan_opts' : null)
  out.openObject()
  out.num('gbp', '%u', d.getUint32(vxlanAttrs[TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP], true))
  out.closeObject()
  out.closeArray()
}

function printErspan(d: DataView, o: number, end: number, out: Printer): void {
  checkAttrs(d, o, end, erspanAttrs, ERSPAN_POLICY)
  const [, ver, index, dir, hwid] = erspanAttrs
  const version = ver ? d.getUint8(ver) : 0
  out.nl()
  out.text('\terspan_opts ')
  out.openArray(out.json ? 'erspan_opts' : null)
  out.openObject()
  out.num('ver', '%u', version)
  out.num('index', ':%u', version === 1 && index ? d.getUint32(index) : 0)
  out.num('dir', ':%u', version !== 1 && dir ? d.getUint8(dir) : 0)
  out.num('hwid', ':%u', version !== 1 && hwid ? d.getUint8(hwid) : 0)
  out.closeObject()
  out.closeArray()
}

/** Prints TCA_TUNNEL_KEY_ENC_OPTS. */
export function printTunnelOpts(d: DataView, o: number, out: Printer): void {
  forEachAttr(d, o, o + attrLen(d, o), (type, p, len) => {
    if (type === TCA_TUNNEL_KEY_ENC_OPTS_GENEVE) printGeneve(d, p, p + len, out)
    else if (type === TCA_TUNNEL_KEY_ENC_OPTS_VXLAN) printVxlan(d, p, p + len, out)
    else if (type === TCA_TUNNEL_KEY_ENC_OPTS_ERSPAN) printErspan(d, p, p + len, out)
  })
}

// ---- kernel

const OPTS_MAX = 255
const VXLAN_GBP_MASK = 0x48ffff

const GENEVE_POLICY = policy(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA, {
  [TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS]: 2,
  [TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE]: 1,
  [TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA]: 0,
})
const VXLAN_POLICY = policy(TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP, { [TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP]: 4 })
const ERSPAN_POLICY = policy(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID, {
  [TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_VER]: 1,
  [TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_INDEX]: 4,
  [TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_DIR]: 1,
  [TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID]: 1,
})

/** What readTunnelOpts read: the bytes, their ENC_OPTS_* kind and TUNNEL_* flag. Scratch of the thread. */
export const tunnelOpts = { bytes: new Uint8Array(512), len: 0, kind: 0, flag: 0 }

function copyGeneve(d: DataView, o: number, end: number): void {
  checkAttrs(d, o, end, geneveAttrs, GENEVE_POLICY)
  const [, cls, type, data] = geneveAttrs
  if (!cls || !type || !data) throw new NetlinkError(EINVAL, 'Missing tunnel key geneve option class, type or data', o)
  const n = attrLen(d, data)
  if (n < 4) throw new NetlinkError(ERANGE, 'Tunnel key geneve option data is less than 4 bytes long', data)
  if (n % 4) throw new NetlinkError(ERANGE, 'Tunnel key geneve option data is not a multiple of 4 bytes long', data)
  if (n > 128) throw new NetlinkError(ERANGE, POLICY_TEXT, data - NLA_HDRLEN)
  if (tunnelOpts.len + 4 + n > OPTS_MAX) throw new NetlinkError(EINVAL, 'Tunnel options exceeds max size', o)
  const { bytes, len } = tunnelOpts
  bytes[len] = d.getUint8(cls)
  bytes[len + 1] = d.getUint8(cls + 1)
  bytes[len + 2] = d.getUint8(type)
  bytes[len + 3] = n / 4
  for (let i = 0; i < n; i++) bytes[len + 4 + i] = d.getUint8(data + i)
  tunnelOpts.len = len + 4 + n
}

function copyVxlan(d: DataView, o: number, end: number): void {
  checkAttrs(d, o, end, vxlanAttrs, VXLAN_POLICY)
  const gbp = vxlanAttrs[TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP]
  if (!gbp) throw new NetlinkError(EINVAL, 'Missing tunnel key vxlan option gbp', o)
  const v = d.getUint32(gbp, true) & VXLAN_GBP_MASK
  for (let i = 0; i < 4; i++) tunnelOpts.bytes[i] = v >>> (8 * i)
  tunnelOpts.len = 4
}

function copyErspan(d: DataView, o: number, end: number): void {
  checkAttrs(d, o, end, erspanAttrs, ERSPAN_POLICY)
  const [, ver, index, dir, hwid] = erspanAttrs
  const { bytes } = tunnelOpts
  if (!ver) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option ver', o)
  bytes.fill(0, 0, 12)
  bytes[0] = d.getUint8(ver)
  if (bytes[0] === 1) {
    if (!index) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option index', o)
    for (let i = 0; i < 4; i++) bytes[4 + i] = d.getUint8(index + i)
  } else if (bytes[0] === 2) {
    if (!dir || !hwid) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option dir or hwid', o)
    const id = d.getUint8(hwid)
    bytes[10] = (id >> 4) & 3
    bytes[11] = ((id & 15) << 4) | ((d.getUint8(dir) & 1) << 3)
  } else throw new NetlinkError(EINVAL, 'Tunnel key erspan option ver is incorrect', ver)
  tunnelOpts.len = 12
}

/** Reads TCA_TUNNEL_KEY_ENC_OPTS into tunnelOpts; refuses as tunnel_key_copy_opts. */
export function readTunnelOpts(d: DataView, o: number): void {
  const opts = tunnelOpts
  opts.len = 0
  opts.kind = 0
  const begin = (kind: number, flag: number, name: string): void => {
    if (opts.kind !== 0 && !(kind === ENC_OPTS_GENEVE && opts.kind === kind))
      throw new NetlinkError(EINVAL, `Duplicate type for ${name} options`, o)
    opts.kind = kind
    opts.flag = flag
  }
  forEachAttr(d, o, o + attrLen(d, o), (type, p, len) => {
    if (type === TCA_TUNNEL_KEY_ENC_OPTS_GENEVE) {
      begin(ENC_OPTS_GENEVE, TUNNEL_GENEVE_OPT, 'geneve')
      copyGeneve(d, p, p + len)
    } else if (type === TCA_TUNNEL_KEY_ENC_OPTS_VXLAN) {
      begin(ENC_OPTS_VXLAN, TUNNEL_VXLAN_OPT, 'vxlan')
      copyVxlan(d, p, p + len)
    } else if (type === TCA_TUNNEL_KEY_ENC_OPTS_ERSPAN) {
      begin(ENC_OPTS_ERSPAN, TUNNEL_ERSPAN_OPT, 'erspan')
      copyErspan(d, p, p + len)
    } else throw new NetlinkError(EINVAL, `flowerbed: unknown tunnel option ${type}`, p)
  })
  if (opts.len === 0) throw new NetlinkError(EINVAL, 'Empty list of tunnel options', o)
}

/** tunnel_key_opts_dump */
export function dumpTunnelOpts(a: Arena, tun: number, b: Builder): void {
  const { u8, d } = a
  const kind = u8[tun + TUN_OPTS_KIND]
  const list = b.nest(TCA_TUNNEL_KEY_ENC_OPTS)
  const nest = b.nest(kind)
  const end = tun + TUN_OPTS + u8[tun + TUN_OPTS_LEN]
  let o = tun + TUN_OPTS
  if (kind === ENC_OPTS_GENEVE)
    while (o < end) {
      const n = (u8[o + 3] & 31) * 4
      b.attrBe16(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS, d.getUint16(o))
      b.attrU8(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE, u8[o + 2])
      b.attrSlice(TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA, u8, o + 4, n)
      o += 4 + n
    }
  else if (kind === ENC_OPTS_VXLAN) b.attrU32(TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP, d.getUint32(o, true))
  else {
    b.attrU8(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_VER, u8[o])
    if (u8[o] === 1) b.attrBe32(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_INDEX, d.getUint32(o + 4))
    else {
      b.attrU8(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_DIR, (u8[o + 11] >> 3) & 1)
      b.attrU8(TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID, ((u8[o + 10] & 3) << 4) | (u8[o + 11] >> 4))
    }
  }
  b.nestEnd(nest)
  b.nestEnd(list)
}
