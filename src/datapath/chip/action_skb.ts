// skbedit and skbmod: the packet's metadata, its addresses and type (net/sched/act_skbedit.c, act_skbmod.c).

import { PKT_DATA, PKT_FLAGS, PKT_LEN, PKT_MARK, PKT_PRIORITY, PKT_QUEUE, PKT_TYPE_SHIFT } from '../../memory/layout/packet.ts'
import { setCe } from './ecn.ts'
import { BE_IP, BE_IPV6, ETH_LEN, isBare, isTagged, keepProtocol, networkHeader, networkProtocol } from './frame.ts'

const SKBEDIT_F_PRIORITY: u32 = 1
const SKBEDIT_F_QUEUE_MAPPING: u32 = 2
const SKBEDIT_F_MARK: u32 = 4
const SKBEDIT_F_PTYPE: u32 = 8
const SKBEDIT_F_INHERITDSFIELD: u32 = 0x20

const SKBMOD_F_DMAC: u32 = 1
const SKBMOD_F_SMAC: u32 = 2
const SKBMOD_F_ETYPE: u32 = 4
const SKBMOD_F_SWAPMAC: u32 = 8
const SKBMOD_F_ECN: u32 = 16

/** Bytes from the network header to the end of the frame. */
function room(pkt: usize): i32 {
  return <i32>(load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN) - networkHeader(pkt))
}

/** OP_SKBEDIT: operands from `o` on: flags priority mark markmask queue ptype. False: a header is cut short. */
export function skbedit(pkt: usize, o: usize): bool {
  const flags = load<u32>(o)
  if ((flags & SKBEDIT_F_PRIORITY) != 0) store<u32>(pkt, load<u32>(o, 4), PKT_PRIORITY)
  if ((flags & SKBEDIT_F_INHERITDSFIELD) != 0) {
    const ip = networkHeader(pkt)
    const proto = networkProtocol(pkt)
    if (proto == BE_IP) {
      if (room(pkt) < 20) return false
      store<u32>(pkt, load<u8>(ip, 1) >>> 2, PKT_PRIORITY)
    } else if (proto == BE_IPV6) {
      if (room(pkt) < 40) return false
      store<u32>(pkt, (bswap<u16>(load<u16>(ip)) >>> 6) & 63, PKT_PRIORITY)
    }
  }
  // A port has one queue: 0.
  if ((flags & SKBEDIT_F_QUEUE_MAPPING) != 0 && load<u32>(o, 16) == 0) store<u16>(pkt, 0, PKT_QUEUE)
  if ((flags & SKBEDIT_F_MARK) != 0) {
    const mask = load<u32>(o, 12)
    store<u32>(pkt, (load<u32>(pkt, PKT_MARK) & ~mask) | (load<u32>(o, 8) & mask), PKT_MARK)
  }
  if ((flags & SKBEDIT_F_PTYPE) != 0) {
    const type = (load<u32>(o, 20) + 1) << PKT_TYPE_SHIFT
    store<u32>(pkt, (load<u32>(pkt, PKT_FLAGS) & ((1 << PKT_TYPE_SHIFT) - 1)) | type, PKT_FLAGS)
  }
  return true
}

/** OP_SKBMOD: operands from `o` on: flags, twelve bytes of addresses, type. False: the kernel wants more bytes. */
export function skbmod(pkt: usize, o: usize, ingress: bool): bool {
  const flags = load<u32>(o)
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  const proto = networkProtocol(pkt)
  if (flags == SKBMOD_F_ECN && proto != BE_IP && proto != BE_IPV6) return true
  const bare = isBare(pkt)
  if (bare && flags != SKBMOD_F_ECN) return true // addresses are for Ethernet, ECN is for any IP packet
  // It asks for the length of an Ethernet header from where skb->data is: at ingress the network header.
  if (!bare && (ingress ? room(pkt) : <i32>len) < <i32>ETH_LEN) return false
  if ((flags & SKBMOD_F_DMAC) != 0) {
    store<u32>(data, load<u32>(o, 4))
    store<u16>(data, load<u16>(o, 8), 4)
  }
  if ((flags & SKBMOD_F_SMAC) != 0) {
    store<u16>(data, load<u16>(o, 10), 6)
    store<u32>(data, load<u32>(o, 12), 8)
  }
  if ((flags & SKBMOD_F_ETYPE) != 0) {
    keepProtocol(pkt)
    const type = data + (isTagged(data, len) ? 16 : 12) // behind the tag that the kernel keeps aside
    store<u16>(type, <u16>load<u32>(o, 16))
  }
  if ((flags & SKBMOD_F_SWAPMAC) != 0) {
    const low = load<u32>(data)
    const high = load<u16>(data, 4)
    store<u16>(data, load<u16>(data, 6))
    store<u32>(data, load<u32>(data, 8), 2)
    store<u32>(data, low, 6)
    store<u16>(data, high, 10)
  }
  if ((flags & SKBMOD_F_ECN) != 0) setCe(networkHeader(pkt), room(pkt), proto)
  return true
}
