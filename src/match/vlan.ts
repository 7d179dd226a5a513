// vlan_id, vlan_prio, vlan_ethtype and cvlan_*: the outer and the inner VLAN tag (IEEE 802.1Q, 802.1ad).
//
// Each ethertype says what stands behind it, so the three are read as one chain (is_vlan_key, fl_set_key_vlan): while an
// ethertype is a VLAN's (or num_of_vlans promises another tag) it is the TPID of the next tag; the first that is not
// becomes the protocol that the rest of the filter is about (KEY_N_PROTO). A filter of protocol 802.1Q without
// vlan_ethtype asks for no protocol at all.

import {
  KEY_CVLAN_ETH_TYPE,
  KEY_CVLAN_TCI,
  KEY_CVLAN_TPID,
  KEY_N_PROTO,
  KEY_NUM_OF_VLANS,
  KEY_VLAN_ETH_TYPE,
  KEY_VLAN_TCI,
  KEY_VLAN_TPID,
} from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { formatProtocol, parseProtocol } from '../tc/protocol_text.ts'
import type { Builder } from '../wire/netlink.ts'
import {
  TCA_FLOWER_KEY_CVLAN_ETH_TYPE,
  TCA_FLOWER_KEY_CVLAN_ID,
  TCA_FLOWER_KEY_CVLAN_PRIO,
  TCA_FLOWER_KEY_ETH_TYPE,
  TCA_FLOWER_KEY_NUM_OF_VLANS,
  TCA_FLOWER_KEY_VLAN_ETH_TYPE,
  TCA_FLOWER_KEY_VLAN_ID,
  TCA_FLOWER_KEY_VLAN_PRIO,
} from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'
import type { FlowerContext, MatchGroup } from './match.ts'

const isVlan = (ethType: number): boolean => ethType === 0x8100 || ethType === 0x88a8

// ---- words

const OUTER = " if ethertype isn't 802.1Q or 802.1AD and num_of_vlans is 0"
const INNER = " if inner vlan ethertype isn't 802.1Q or 802.1AD and num_of_vlans is less than 2"

function tag(args: Args, c: FlowerContext, keyword: string): void {
  const inner = keyword.startsWith('c')
  const good = inner ? isVlan(c.vlanEthType) || c.numOfVlans > 1 : isVlan(c.protocol) || c.numOfVlans > 0
  if (!good) throw args.fail(`Can't set "${keyword}"${inner ? INNER : OUTER}`)
}

function parseEthType(args: Args, c: FlowerContext, keyword: string): number {
  const inner = keyword.startsWith('c')
  const good = inner ? isVlan(c.vlanEthType) || c.numOfVlans > 1 : isVlan(c.ethType) || c.numOfVlans > 0
  if (!good) {
    const why = inner ? 'less than 2' : 'is 0'
    throw args.fail(`Can't set "${keyword}" if ethertype isn't 802.1Q or 802.1AD and num_of_vlans ${why}`)
  }
  const type = parseProtocol(args.word)
  if (type < 0) throw args.invarg('invalid vlan_ethtype')
  return type
}

function parseWord(keyword: string, args: Args, b: Builder, c: FlowerContext): void {
  args.next()
  const inner = keyword.startsWith('c')
  if (keyword.endsWith('_ethtype')) {
    const type = parseEthType(args, c, keyword)
    if (!inner) c.vlanEthType = type
    c.ethType = type
    b.attrBe16(inner ? TCA_FLOWER_KEY_CVLAN_ETH_TYPE : TCA_FLOWER_KEY_VLAN_ETH_TYPE, type)
    return
  }
  tag(args, c, keyword)
  if (keyword.endsWith('_id')) {
    const id = args.u16(10)
    if (id < 0 || id > 0xfff) throw illegal(args, keyword)
    b.attrU16(inner ? TCA_FLOWER_KEY_CVLAN_ID : TCA_FLOWER_KEY_VLAN_ID, id)
  } else {
    const prio = args.u8(10)
    if (prio < 0 || prio > 7) throw illegal(args, keyword)
    b.attrU8(inner ? TCA_FLOWER_KEY_CVLAN_PRIO : TCA_FLOWER_KEY_VLAN_PRIO, prio)
  }
}

// ---- key

function setBe16(bytes: Uint8Array, offset: number, v: number): void {
  bytes[offset] = v >> 8
  bytes[offset + 1] = v & 0xff
}

const getBe16 = (bytes: Uint8Array, offset: number): number => (bytes[offset] << 8) | bytes[offset + 1]

// Is the ethertype at `payload` (0: not given) a tag's? If not, it is what the frame carries.
function isVlanKey(payload: number, d: DataView, key: Uint8Array, mask: Uint8Array, threshold: number): boolean {
  const promised = key[KEY_NUM_OF_VLANS] > threshold
  if (payload === 0) return promised
  const type = d.getUint16(payload)
  if (promised || isVlan(type)) return true
  setBe16(key, KEY_N_PROTO, type)
  setBe16(mask, KEY_N_PROTO, 0xffff)
  return false
}

interface TagFields {
  readonly tci: number
  readonly tpid: number
  readonly ethType: number
  readonly idAttr: number
  readonly prioAttr: number
  readonly ethTypeAttr: number
}
const outer: TagFields = {
  tci: KEY_VLAN_TCI,
  tpid: KEY_VLAN_TPID,
  ethType: KEY_VLAN_ETH_TYPE,
  idAttr: TCA_FLOWER_KEY_VLAN_ID,
  prioAttr: TCA_FLOWER_KEY_VLAN_PRIO,
  ethTypeAttr: TCA_FLOWER_KEY_VLAN_ETH_TYPE,
}
const inner: TagFields = {
  tci: KEY_CVLAN_TCI,
  tpid: KEY_CVLAN_TPID,
  ethType: KEY_CVLAN_ETH_TYPE,
  idAttr: TCA_FLOWER_KEY_CVLAN_ID,
  prioAttr: TCA_FLOWER_KEY_CVLAN_PRIO,
  ethTypeAttr: TCA_FLOWER_KEY_CVLAN_ETH_TYPE,
}

function setTag(attrs: Int32Array, d: DataView, key: Uint8Array, mask: Uint8Array, f: TagFields, tpid: number): void {
  let value = 0
  let bits = 0
  if (attrs[f.idAttr]) {
    value = d.getUint16(attrs[f.idAttr], true) & 0xfff
    bits = 0xfff
  }
  if (attrs[f.prioAttr]) {
    value |= (d.getUint8(attrs[f.prioAttr]) & 7) << 13
    bits |= 0xe000
  }
  setBe16(key, f.tci, value)
  setBe16(mask, f.tci, bits)
  const type = tpid === 0 ? 0 : d.getUint16(tpid)
  if (type !== 0) {
    setBe16(key, f.tpid, type)
    setBe16(mask, f.tpid, 0xffff)
  }
  if (attrs[f.ethTypeAttr]) {
    setBe16(key, f.ethType, d.getUint16(attrs[f.ethTypeAttr]))
    setBe16(mask, f.ethType, 0xffff)
  }
}

function putTag(key: Uint8Array, mask: Uint8Array, b: Builder, f: TagFields): void {
  const bits = getBe16(mask, f.tci)
  const value = getBe16(key, f.tci)
  if (bits & 0xfff) b.attrU16(f.idAttr, value & 0xfff)
  if (bits & 0xe000) b.attrU8(f.prioAttr, value >> 13)
}

// ---- text

function printTag(attrs: Int32Array, d: DataView, out: Printer, prefix: string, f: TagFields): void {
  if (attrs[f.idAttr]) {
    out.nl()
    out.num(`${prefix}_id`, `  ${prefix}_id %u`, d.getUint16(attrs[f.idAttr], true))
  }
  if (attrs[f.prioAttr]) {
    out.nl()
    out.num(`${prefix}_prio`, `  ${prefix}_prio %d`, d.getUint8(attrs[f.prioAttr]))
  }
  if (attrs[f.ethTypeAttr]) {
    out.nl()
    out.str(`${prefix}_ethtype`, `  ${prefix}_ethtype %s`, formatProtocol(d.getUint16(attrs[f.ethTypeAttr])))
  }
}

export const vlan: MatchGroup = {
  name: 'vlan',
  keywords: ['vlan_id', 'vlan_prio', 'vlan_ethtype', 'cvlan_id', 'cvlan_prio', 'cvlan_ethtype'],
  attributes: [
    TCA_FLOWER_KEY_ETH_TYPE,
    TCA_FLOWER_KEY_VLAN_ID,
    TCA_FLOWER_KEY_VLAN_PRIO,
    TCA_FLOWER_KEY_VLAN_ETH_TYPE,
    TCA_FLOWER_KEY_CVLAN_ID,
    TCA_FLOWER_KEY_CVLAN_PRIO,
    TCA_FLOWER_KEY_CVLAN_ETH_TYPE,
    TCA_FLOWER_KEY_NUM_OF_VLANS,
  ],

  parse(keyword, args, b, c) {
    parseWord(keyword, args, b, c)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    const ethType = attrs[TCA_FLOWER_KEY_ETH_TYPE]
    if (!isVlanKey(ethType, d, key, mask, 0)) return
    setTag(attrs, d, key, mask, outer, ethType)
    const vlanEthType = attrs[TCA_FLOWER_KEY_VLAN_ETH_TYPE]
    if (!isVlanKey(vlanEthType, d, key, mask, 1)) return
    setTag(attrs, d, key, mask, inner, vlanEthType)
    const cvlanEthType = attrs[TCA_FLOWER_KEY_CVLAN_ETH_TYPE]
    if (cvlanEthType === 0) return
    setBe16(key, KEY_N_PROTO, d.getUint16(cvlanEthType))
    setBe16(mask, KEY_N_PROTO, 0xffff)
  },

  toAttributes(key, mask, b) {
    putTag(key, mask, b, outer)
    putTag(key, mask, b, inner)
    if (getBe16(mask, KEY_CVLAN_TPID) !== 0) b.attrBe16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, getBe16(key, KEY_CVLAN_TPID))
    if (getBe16(mask, KEY_N_PROTO) === 0) return
    if (getBe16(mask, KEY_CVLAN_ETH_TYPE) !== 0) b.attrBe16(TCA_FLOWER_KEY_CVLAN_ETH_TYPE, getBe16(key, KEY_N_PROTO))
    else if (getBe16(mask, KEY_VLAN_ETH_TYPE) !== 0)
      b.attrBe16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, getBe16(key, KEY_VLAN_ETH_TYPE))
  },

  print(attrs, d, out) {
    printTag(attrs, d, out, 'vlan', outer)
    printTag(attrs, d, out, 'cvlan', inner)
  },
}
