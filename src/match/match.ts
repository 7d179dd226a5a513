// The catalogue of what flower looks at: the contract of a key group, and what the groups hand around.
//
// A key group is one file of this folder: a few flower keywords that belong together, whole. Its four halves:
//
//   tc words ── parse ──▶ TCA_FLOWER_* attributes ── toKey ──▶ key and mask bytes (memory/layout/flow_key.ts)
//   tc text  ◀── print ──                         ◀── toAttributes ──
//
// parse and print are the command line's and mean what f_flower.c of iproute2 6.1 means; toKey and toAttributes are the
// kernel's fl_set_key and fl_dump_key (net/sched/cls_flower.c, Linux 6.1). The four orders in which groups take their
// turn, and the words in the order in which tc tries them, stand in index.ts, which names every group: a new key is a
// file and its lines there. Groups import only this file and what is below the folder. Control threads only; no group
// keeps anything between calls.
//
// The key that toAttributes gets is the one that toKey made, NOT masked: `dst_ip 1.1.1.99/24` is shown as it was given.

import { KEY_N_PROTO } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { attrLen, type Builder } from '../wire/netlink.ts'

/** What the words of one flower command have said so far; made by flowerContext, one for each command. */
export interface FlowerContext {
  /** Protocol of the filter, host order; ETH_P_ALL is 3. */
  readonly protocol: number
  /** TC_H_* parent of the filter, for hw_tc. */
  readonly parent: number
  /** EtherType that IP words are read against: the protocol, or the innermost ethertype given; host order. */
  ethType: number
  vlanEthType: number
  numOfVlans: number
  /** 0xff until ip_proto is given. */
  ipProto: number
  /** mpls_* words were given, or `mpls lse`: they exclude each other. */
  mplsOld: boolean
  mplsNew: boolean
  /** ip_flags, written behind all else. */
  ipFlags: number
  ipFlagsMask: number
  encFlags: number
  encFlagsMask: number
  /** TCA_CLS_FLAGS_* */
  clsFlags: number
}

/** Device names, for `indev`. */
export interface KeyDevices {
  /** The ifindex of a device, 0 when there is none of that name. */
  indexOf(name: string): number
  nameOf(ifindex: number): string
}

/** What a flower filter says beside key and mask. flowKey fills it, flowKeyAttributes reads the ranges. */
export interface KeyExtra {
  readonly devices: KeyDevices
  /** Port ranges, host order; a max of 0: none. */
  srcPortMin: number
  srcPortMax: number
  dstPortMin: number
  dstPortMax: number
  /** TCA_FLOWER_CLASSID, 0 without. */
  classid: number
  /** TCA_FLOWER_FLAGS as given (TCA_CLS_FLAGS_*), 0 without. */
  flags: number
  /** Offset in the message of the payload of TCA_FLOWER_ACT (a nest of actions, numbered from 1), 0 without. */
  act: number
}

export const keyExtra = (devices: KeyDevices): KeyExtra => ({
  devices,
  srcPortMin: 0,
  srcPortMax: 0,
  dstPortMin: 0,
  dstPortMax: 0,
  classid: 0,
  flags: 0,
  act: 0,
})

export interface MatchGroup {
  /** Name of the file. */
  readonly name: string
  /** The words that the group takes, spelled out. */
  readonly keywords: readonly string[]
  /** The attributes that make toKey worth calling, masks left out. */
  readonly attributes: readonly number[]
  /**
   * Reads one word of the group and its value: `args` stands on the word, `keyword` is the full word that it is short
   * for; leaves `args` behind the value. Refuses with LanguageError as tc does.
   */
  parse(keyword: string, args: Args, b: Builder, c: FlowerContext): void
  /** attrs[type] = offset of the payload in `d`, 0 when absent, lengths checked. Refuses with NetlinkError. */
  toKey(attrs: Int32Array, d: DataView, key: Uint8Array, mask: Uint8Array, extra: KeyExtra): void
  toAttributes(key: Uint8Array, mask: Uint8Array, b: Builder, extra: KeyExtra): void
  print(attrs: Int32Array, d: DataView, out: Printer): void
}

// ---- what the groups are made of

/** fl_set_key_val: `len` bytes of a value, and of its mask, which is all ones when it is not given. */
export function setKeyVal(
  attrs: Int32Array,
  d: DataView,
  key: Uint8Array,
  mask: Uint8Array,
  offset: number,
  len: number,
  type: number,
  maskType: number,
): void {
  const value = attrs[type]
  if (value === 0) return
  copy(d, value, key, offset, len)
  const m = maskType === 0 ? 0 : attrs[maskType]
  if (m === 0) for (let i = 0; i < len; i++) mask[offset + i] = 0xff
  else copy(d, m, mask, offset, len)
}

// nla_memcpy: what the attribute has, the rest zero.
function copy(d: DataView, payload: number, to: Uint8Array, offset: number, len: number): void {
  const has = attrLen(d, payload)
  for (let i = 0; i < len; i++) to[offset + i] = i < has ? d.getUint8(payload + i) : 0
}

/** Is any of `len` bytes set? */
export function isSet(bytes: Uint8Array, offset: number, len: number): boolean {
  for (let i = 0; i < len; i++) if (bytes[offset + i] !== 0) return true
  return false
}

/** fl_dump_key_val: nothing where the mask is zero, else the value and, unless maskType is 0, the mask. */
export function putKeyVal(
  key: Uint8Array,
  mask: Uint8Array,
  b: Builder,
  offset: number,
  len: number,
  type: number,
  maskType: number,
): void {
  if (!isSet(mask, offset, len)) return
  b.attrSlice(type, key, offset, len)
  if (maskType !== 0) b.attrSlice(maskType, mask, offset, len)
}

/** The EtherType that the key asks for, host order; 0 for none. */
export const keyProto = (key: Uint8Array): number => (key[KEY_N_PROTO] << 8) | key[KEY_N_PROTO + 1]
