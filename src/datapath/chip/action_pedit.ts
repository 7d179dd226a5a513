// pedit: masked writes and additions of 32-bit words (net/sched/act_pedit.c).
//
// Offsets count from a header as the kernel has it, which keeps the outermost VLAN tag beside the frame: what lies
// behind the addresses is found four bytes further on in a tagged frame.

import { PEDIT_ADD, PEDIT_HTYPE_MASK } from '../../memory/layout/program.ts'
import { PKT_DATA, PKT_HEADROOM, PKT_LEN } from '../../memory/layout/packet.ts'
import { BE_IP, BE_IPV6, innerProtocol, isBare, isTagged, keepProtocol, networkHeader } from './frame.ts'
import { countOverlimit } from './state.ts'

// TCA_PEDIT_KEY_EX_HDR_TYPE_*
const HTYPE_ETH: u32 = 1
const HTYPE_TCP: u32 = 4
const HTYPE_UDP: u32 = 5

const IPPROTO_TCP: u32 = 6
const IPPROTO_UDP: u32 = 17
const KEY_BYTES: usize = 28

// The frame that is being edited: where it begins, how long it is without the tag, and the size of the tag.
let frame: usize = 0
let size: i32 = 0
let tag: i32 = 0
let floor: i32 = 0
/** Offset in the frame, tag included, of the type in front of the network header. */
let typeAt: i32 = 0

/** Address of the byte at `offset` of the frame without its outermost tag. */
// @ts-ignore: decorator
@inline
function at(offset: i32): usize {
  return frame + (offset < 12 ? offset : offset + tag)
}

function readWord(offset: i32): u32 {
  if (tag == 0 || offset >= 12 || offset <= 8) return load<u32>(at(offset))
  let w: u32 = 0
  for (let i = 0; i < 4; i++) w |= <u32>load<u8>(at(offset + i)) << (i << 3)
  return w
}

function writeWord(offset: i32, w: u32): void {
  if (tag == 0 || offset >= 12 || offset <= 8) store<u32>(at(offset), w)
  else for (let i = 0; i < 4; i++) store<u8>(at(offset + i), <u8>(w >>> (i << 3)))
}

/** Where the transport header of the protocol is, -1 when there is none (pedit_l4_skb_offset). */
function transportOffset(pkt: usize, network: i32, wanted: u32): i32 {
  const proto = innerProtocol(pkt)
  const ip = at(network)
  if (proto == BE_IP) return network + 20 <= size ? network + (<i32>(load<u8>(ip) & 15) << 2) : -1
  if (proto != BE_IPV6 || network + 40 > size) return -1
  // ipv6_find_hdr
  let next = <u32>load<u8>(ip, 6)
  let o = network + 40
  while (next != wanted) {
    const isExtension = next == 0 || next == 43 || next == 44 || next == 51 || next == 60
    if (!isExtension || o + 8 > size) return -1
    const p = at(o)
    if (next == 44) {
      if ((load<u16>(p, 2) & 0xf8ff) != 0) return -1
      o += 8
    } else {
      o += next == 51 ? (<i32>load<u8>(p, 1) + 2) << 2 : (<i32>load<u8>(p, 1) + 1) << 3
    }
    next = load<u8>(p)
  }
  return o <= size ? o : -1
}

/** One key. False: it does not fit the packet. */
function editWord(pkt: usize, key: usize, network: i32): bool {
  const where = load<u32>(key)
  const htype = where & PEDIT_HTYPE_MASK
  let base = network
  if (htype == HTYPE_ETH) base = 0
  else if (htype == HTYPE_TCP) base = transportOffset(pkt, network, IPPROTO_TCP)
  else if (htype == HTYPE_UDP) base = transportOffset(pkt, network, IPPROTO_UDP)
  if (base < 0) return false
  let offset = load<i32>(key, 4)
  const offmask = load<u32>(key, 20)
  if (offmask != 0) {
    const from = base + load<i32>(key, 16)
    if (from < floor || from >= size) return false
    offset += <i32>((<u32>load<u8>(at(from)) & offmask) >>> load<u32>(key, 24))
    if ((offset & 3) != 0) return false
  }
  const o = base + offset
  if (o < floor || o > size - 4) return false
  const mask = load<u32>(key, 12)
  const word = readWord(o)
  const val = (where & PEDIT_ADD) != 0 ? (word + load<u32>(key, 8)) & ~mask : load<u32>(key, 8)
  if (o + tag == typeAt - 2 || o + tag == typeAt) keepProtocol(pkt) // the frame gets another type, the packet does not
  writeWord(o, (word & mask) ^ val)
  return true
}

/** OP_PEDIT: `keys` of `n` keys of seven words each. */
export function pedit(pkt: usize, keys: usize, n: u32, counter: u32): void {
  frame = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  tag = !isBare(pkt) && isTagged(frame, len) ? 4 : 0
  size = <i32>len - tag
  floor = <i32>(pkt + PKT_HEADROOM) - <i32>frame
  typeAt = <i32>(networkHeader(pkt) - frame) - 2
  const network = typeAt + 2 - tag
  for (let i: u32 = 0; i < n; i++, keys += KEY_BYTES) {
    if (!editWord(pkt, keys, network)) {
      countOverlimit(counter)
      return
    }
  }
}
