// geneve_opts, vxlan_opts, erspan_opts, gtp_opts: the options of the tunnel that a packet came out of.
//
// In the key they stand as in the packet's metadata (action/tunnel_opts.ts draws them; gtp: u8 pdu_type, u8 qfi), from
// KEY_ENC_OPTS, with their kind and their length in bytes. As in the kernel the mask of the length is the length itself,
// so that a rule with fewer options than the packet has may match: `A` matches a packet with options A, B when the bits
// of the one length are bits of the other.

import {
  ENC_OPTS_ERSPAN,
  ENC_OPTS_GENEVE,
  ENC_OPTS_GTP,
  ENC_OPTS_VXLAN,
  KEY_ENC_OPTS,
  KEY_ENC_OPTS_KIND,
  KEY_ENC_OPTS_LEN,
} from '../memory/layout/flow_key.ts'
import type { Printer } from '../tc/printer.ts'
import { attrLen, type Builder, forEachAttr, NLA_HDRLEN, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_DIR,
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_HWID,
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_INDEX,
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_VER,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE,
  TCA_FLOWER_KEY_ENC_OPT_GTP_PDU_TYPE,
  TCA_FLOWER_KEY_ENC_OPT_GTP_QFI,
  TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP,
  TCA_FLOWER_KEY_ENC_OPTS,
  TCA_FLOWER_KEY_ENC_OPTS_ERSPAN,
  TCA_FLOWER_KEY_ENC_OPTS_GENEVE,
  TCA_FLOWER_KEY_ENC_OPTS_GTP,
  TCA_FLOWER_KEY_ENC_OPTS_MASK,
  TCA_FLOWER_KEY_ENC_OPTS_VXLAN,
} from '../wire/tca_flower.ts'
import { parseEncOpts } from './enc_opts_words.ts'
import { hex } from './masked_text.ts'
import type { MatchGroup } from './match.ts'

const OPTS_MAX = 255
const VXLAN_GBP_MASK = 0x48ffff

// ---- key: each of these writes one option at `at`, from the attribute [o, end) or, without one (o 0), all ones for an
// exact match; `keyLen` is the length of the key's option when it is the mask's turn, else 0. They give the length.

const tb = new Int32Array(8)

function read(d: DataView, o: number, end: number, lengths: readonly number[]): void {
  forEachAttr(d, o, end, (type, p, len) => {
    if (type < lengths.length && len < lengths[type]) throw new NetlinkError(ERANGE, POLICY_TEXT, p - NLA_HDRLEN)
  })
  parseAttrs(d, o, end, tb, lengths.length - 1)
}

function setGeneve(d: DataView, o: number, end: number, to: Uint8Array, at: number, keyLen: number): number {
  let n = keyLen > 4 ? keyLen - 4 : 0
  if (at - KEY_ENC_OPTS > OPTS_MAX - 4) throw new NetlinkError(ERANGE, 'Tunnel options are too long')
  to.fill(0xff, at, at + keyLen)
  to[at + 3] = n >> 2
  if (o === 0) return 4 + n
  read(d, o, end, [0, 2, 1, 0])
  const cls = tb[TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS]
  const type = tb[TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE]
  const data = tb[TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA]
  if (keyLen === 0 && !(cls && type && data))
    throw new NetlinkError(EINVAL, 'Missing tunnel key geneve option class, type or data')
  if (data) {
    n = attrLen(d, data)
    if (n < 4) throw new NetlinkError(ERANGE, 'Tunnel key geneve option data is less than 4 bytes long')
    if (n % 4) throw new NetlinkError(ERANGE, 'Tunnel key geneve option data is not a multiple of 4 bytes long')
    if (n > 128) throw new NetlinkError(ERANGE, POLICY_TEXT, data - NLA_HDRLEN)
    if (at - KEY_ENC_OPTS + 4 + n > OPTS_MAX) throw new NetlinkError(ERANGE, 'Tunnel options exceeds max size')
    to[at + 3] = n >> 2
    for (let i = 0; i < n; i++) to[at + 4 + i] = d.getUint8(data + i)
  }
  if (cls) {
    to[at] = d.getUint8(cls)
    to[at + 1] = d.getUint8(cls + 1)
  }
  if (type) to[at + 2] = d.getUint8(type)
  return 4 + n
}

function setVxlan(d: DataView, o: number, end: number, to: Uint8Array, at: number, keyLen: number): number {
  to.fill(0xff, at, at + 4)
  if (o === 0) return 4
  read(d, o, end, [0, 4])
  const gbp = tb[TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP]
  if (keyLen === 0 && !gbp) throw new NetlinkError(EINVAL, 'Missing tunnel key vxlan option gbp')
  if (gbp) {
    const v = d.getUint32(gbp, true) & VXLAN_GBP_MASK
    for (let i = 0; i < 4; i++) to[at + i] = v >>> (8 * i)
  }
  return 4
}

function setErspan(d: DataView, o: number, end: number, to: Uint8Array, at: number, keyLen: number): number {
  to[at] = 1
  if (o === 0) return 12
  read(d, o, end, [0, 1, 4, 1, 1])
  const [, ver, index, dir, hwid] = tb
  if (keyLen === 0 && !ver) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option ver')
  if (ver) to[at] = d.getUint8(ver)
  if (to[at] === 1) {
    if (keyLen === 0 && !index) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option index')
    for (let i = 0; i < 4; i++) to[at + 4 + i] = index ? d.getUint8(index + i) : 0xff
  } else if (to[at] === 2) {
    if (keyLen === 0 && !(dir && hwid)) throw new NetlinkError(EINVAL, 'Missing tunnel key erspan option dir or hwid')
    const id = hwid ? d.getUint8(hwid) : 0xff
    to[at + 10] = (id >> 4) & 3
    to[at + 11] = ((id & 15) << 4) | (((dir ? d.getUint8(dir) : 1) & 1) << 3)
  } else throw new NetlinkError(EINVAL, 'Tunnel key erspan option ver is incorrect')
  return 12
}

function setGtp(d: DataView, o: number, end: number, to: Uint8Array, at: number, keyLen: number): number {
  to.fill(0xff, at, at + keyLen)
  if (o === 0) return 2
  read(d, o, end, [0, 1, 1])
  const [, type, qfi] = tb
  if (keyLen === 0 && !(type && qfi))
    throw new NetlinkError(EINVAL, 'cls_flower: Missing tunnel key gtp option pdu type or qfi')
  if (type) to[at] = d.getUint8(type)
  if (qfi) to[at + 1] = d.getUint8(qfi)
  return 2
}

interface Kind {
  readonly name: string
  /** ENC_OPTS_*, and the type of its attribute. */
  readonly id: number
  /** What extack messages of this kind begin with. */
  readonly module: string
  set: typeof setGeneve
}
const KINDS: readonly (Kind | undefined)[] = [
  undefined,
  { name: 'geneve', id: ENC_OPTS_GENEVE, module: '', set: setGeneve },
  { name: 'vxlan', id: ENC_OPTS_VXLAN, module: '', set: setVxlan },
  { name: 'erspan', id: ENC_OPTS_ERSPAN, module: '', set: setErspan },
  { name: 'gtp', id: ENC_OPTS_GTP, module: 'cls_flower: ', set: setGtp },
]

/** Payload offsets of the attributes in a nest, in order; scratch of the thread. */
const maskAt: number[] = []
const maskType: number[] = []

// fl_set_enc_opt: the options of the key and of the mask, side by side.
function setOptions(d: DataView, opts: number, optsMask: number, key: Uint8Array, mask: Uint8Array): void {
  maskAt.length = 0
  maskType.length = 0
  if (optsMask) {
    forEachAttr(d, optsMask, optsMask + attrLen(d, optsMask), (type, o) => {
      maskAt.push(o)
      maskType.push(type)
    })
    if (maskAt.length === 0) throw new NetlinkError(EINVAL, 'Invalid nested attribute for masks')
  }
  let i = 0
  forEachAttr(d, opts, opts + attrLen(d, opts), (type, o, len) => {
    const kind = KINDS[type]
    if (!kind) throw new NetlinkError(EINVAL, 'Unknown tunnel option type')
    const had = key[KEY_ENC_OPTS_KIND]
    if (had !== 0 && !(had === ENC_OPTS_GENEVE && type === ENC_OPTS_GENEVE))
      throw new NetlinkError(EINVAL, `${kind.module}Duplicate type for ${kind.name} options`)
    key[KEY_ENC_OPTS_KIND] = kind.id
    mask[KEY_ENC_OPTS_KIND] = 0xff
    const n = kind.set(d, o, o + len, key, KEY_ENC_OPTS + key[KEY_ENC_OPTS_LEN], 0)
    key[KEY_ENC_OPTS_LEN] += n
    const m = i < maskAt.length ? maskAt[i] : 0
    if (m && maskType[i] !== type) throw new NetlinkError(EINVAL, `${kind.module}Non-${kind.name} option type for mask`)
    i++
    const end = m ? m + attrLen(d, m) : 0
    mask[KEY_ENC_OPTS_LEN] += kind.set(d, m, end, mask, KEY_ENC_OPTS + mask[KEY_ENC_OPTS_LEN], n)
    if (key[KEY_ENC_OPTS_LEN] !== mask[KEY_ENC_OPTS_LEN])
      throw new NetlinkError(EINVAL, `${kind.module}Key and mask miss aligned`)
  })
}

// fl_dump_key_options; `kind` is the key's, since the mask of the kind is all ones here.
function putOptions(bytes: Uint8Array, kind: number, b: Builder, type: number): void {
  const len = bytes[KEY_ENC_OPTS_LEN]
  if (len === 0) return
  const list = b.nest(type)
  const nest = b.nest(kind)
  let o = KEY_ENC_OPTS
  const end = KEY_ENC_OPTS + len
  if (kind === TCA_FLOWER_KEY_ENC_OPTS_GENEVE)
    while (o < end) {
      const n = (bytes[o + 3] & 31) * 4
      b.attrSlice(TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS, bytes, o, 2)
      b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE, bytes[o + 2])
      b.attrSlice(TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA, bytes, o + 4, n)
      o += 4 + n
    }
  else if (kind === TCA_FLOWER_KEY_ENC_OPTS_VXLAN) b.attrSlice(TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP, bytes, o, 4)
  else if (kind === TCA_FLOWER_KEY_ENC_OPTS_ERSPAN) {
    b.attrU8(TCA_FLOWER_KEY_ENC_OPT_ERSPAN_VER, bytes[o])
    if (bytes[o] === 1) b.attrSlice(TCA_FLOWER_KEY_ENC_OPT_ERSPAN_INDEX, bytes, o + 4, 4)
    if (bytes[o] === 2) {
      b.attrU8(TCA_FLOWER_KEY_ENC_OPT_ERSPAN_DIR, (bytes[o + 11] >> 3) & 1)
      b.attrU8(TCA_FLOWER_KEY_ENC_OPT_ERSPAN_HWID, ((bytes[o + 10] & 3) << 4) | (bytes[o + 11] >> 4))
    }
  } else {
    b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GTP_PDU_TYPE, bytes[o])
    b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GTP_QFI, bytes[o + 1])
  }
  b.nestEnd(nest)
  b.nestEnd(list)
}

// ---- text: each prints the JSON of one nest under `name` and gives its text, options separated by commas

// The kernel writes the attributes of all options into one nest; each option takes 20 bytes besides its data.
function printGeneve(d: DataView, o: number, end: number, out: Printer, name: string): string {
  const parts: string[] = []
  if (out.json) out.openArray(name)
  while (o + 20 <= end) {
    const cls = d.getUint16(o + 4)
    const type = d.getUint8(o + 12)
    const data = o + 20
    const n = attrLen(d, data)
    parts.push(`${cls.toString(16).padStart(4, '0')}:${type.toString(16).padStart(2, '0')}:${hex(d, data, n)}`)
    o = data + n
    if (!out.json) continue
    out.openObject()
    out.num('class', null, cls)
    out.num('type', null, type)
    out.openArray('data')
    for (let i = 0; i < n; i++) out.num(null, null, d.getUint8(data + i))
    out.closeArray()
    out.closeObject()
  }
  if (out.json) out.closeArray()
  return parts.join(',')
}

function printVxlan(d: DataView, o: number, end: number, out: Printer, name: string): string {
  parseAttrs(d, o, end, tb, TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP)
  const gbp = d.getUint32(tb[TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP], true)
  return printObject(out, name, [['gbp', gbp]])
}

function printErspan(d: DataView, o: number, end: number, out: Printer, name: string): string {
  parseAttrs(d, o, end, tb, TCA_FLOWER_KEY_ENC_OPT_ERSPAN_HWID)
  const [, ver, index, dir, hwid] = tb
  const version = d.getUint8(ver)
  const fields: [string, number][] = [
    ['ver', version],
    ['index', version === 1 && index ? d.getUint32(index) : 0],
    ['dir', version !== 1 && dir ? d.getUint8(dir) : 0],
    ['hwid', version !== 1 && hwid ? d.getUint8(hwid) : 0],
  ]
  return printObject(out, name, fields)
}

function printObject(out: Printer, name: string, fields: readonly (readonly [string, number])[]): string {
  if (out.json) {
    out.openArray(name)
    out.openObject()
    for (const [key, v] of fields) out.num(key, null, v)
    out.closeObject()
    out.closeArray()
  }
  return fields.map(([, v]) => v).join(':')
}

function printGtp(d: DataView, o: number, end: number): string {
  parseAttrs(d, o, end, tb, TCA_FLOWER_KEY_ENC_OPT_GTP_QFI)
  const byte = (p: number): string => d.getUint8(p).toString(16).padStart(2, '0')
  return `${byte(tb[TCA_FLOWER_KEY_ENC_OPT_GTP_PDU_TYPE])}:${byte(tb[TCA_FLOWER_KEY_ENC_OPT_GTP_QFI])}`
}

function printOne(d: DataView, o: number, out: Printer, type: number, suffix: string): string {
  const end = o + attrLen(d, o)
  if (type === TCA_FLOWER_KEY_ENC_OPTS_GENEVE) return printGeneve(d, o, end, out, `geneve_opt_${suffix}`)
  if (type === TCA_FLOWER_KEY_ENC_OPTS_VXLAN) return printVxlan(d, o, end, out, `vxlan_opt_${suffix}`)
  if (type === TCA_FLOWER_KEY_ENC_OPTS_ERSPAN) return printErspan(d, o, end, out, `erspan_opt_${suffix}`)
  return printGtp(d, o, end)
}

const keyNest = new Int32Array(TCA_FLOWER_KEY_ENC_OPTS_GTP + 1)
const maskNest = new Int32Array(TCA_FLOWER_KEY_ENC_OPTS_GTP + 1)

export const encOpts: MatchGroup = {
  name: 'enc_opts',
  keywords: ['geneve_opts', 'vxlan_opts', 'erspan_opts', 'gtp_opts'],
  attributes: [TCA_FLOWER_KEY_ENC_OPTS],

  parse: parseEncOpts,

  toKey(attrs, d, key, mask) {
    if (!attrs[TCA_FLOWER_KEY_ENC_OPTS]) return
    setOptions(d, attrs[TCA_FLOWER_KEY_ENC_OPTS], attrs[TCA_FLOWER_KEY_ENC_OPTS_MASK], key, mask)
  },

  toAttributes(key, mask, b) {
    putOptions(key, key[KEY_ENC_OPTS_KIND], b, TCA_FLOWER_KEY_ENC_OPTS)
    putOptions(mask, key[KEY_ENC_OPTS_KIND], b, TCA_FLOWER_KEY_ENC_OPTS_MASK)
  },

  print(attrs, d, out) {
    const [key, mask] = [attrs[TCA_FLOWER_KEY_ENC_OPTS], attrs[TCA_FLOWER_KEY_ENC_OPTS_MASK]]
    if (!key) return
    parseAttrs(d, key, key + attrLen(d, key), keyNest, TCA_FLOWER_KEY_ENC_OPTS_GTP)
    if (mask) parseAttrs(d, mask, mask + attrLen(d, mask), maskNest, TCA_FLOWER_KEY_ENC_OPTS_GTP)
    else maskNest.fill(0)
    const type = keyNest.findIndex((o, t) => t > 0 && o !== 0)
    if (type < 0) return
    const values = printOne(d, keyNest[type], out, type, 'key').split(',')
    const masks = (maskNest[type] ? printOne(d, maskNest[type], out, type, 'mask') : '').split(',')
    if (out.json) return
    out.nl()
    out.text(`  ${KINDS[type]!.name}_opts ${values.map((v, i) => `${v}/${masks[i] ?? ''}`).join(',')}`)
  },
}
