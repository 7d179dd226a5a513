// Checksums that only begin (CHECKSUM_PARTIAL): a sender that counts on its device has put the sum of the pseudo header
// into the field, and the rest is for the device to add. A frame that leaves by another device must carry the whole.
//
// Where the kernel says which frames are so, and where (virtio_net_hdr), `complete` does it. AF_XDP says nothing: there
// the field itself tells. One that equals the pseudo header's sum is not whole, or it is right by chance, and then
// completing it changes nothing. What is inside of a tunnel of ours is looked at too: the kernel's own tunnel devices
// leave an inner checksum to the device below (and make the outer one right for what it will be, lco_csum).

import {
  NETDEV_KIND,
  NETDEV_KIND_GENEVE,
  NETDEV_KIND_VXLAN,
} from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_LEN } from '../../memory/layout/packet.ts'
import { SUPER_UDP_PORTS } from '../../memory/layout/super.ts'
import { fold, sumWords } from './checksum.ts'
import { BE_IP, BE_IPV6, ETH_LEN, isVlan } from './frame.ts'

const TCP: u32 = 6
const UDP: u32 = 17
const GRE: u32 = 47
/** GRE: checksum, key, sequence number; protocol transparent Ethernet (0x6558). */
const GRE_FLAGS: u32 = 0x00b0
const BE_TEB: u16 = 0x5865
/** Tunnels inside each other that are looked into. */
const DEPTH_MAX: i32 = 2

/** Adds what is missing to the checksum at `start + offset`, which covers all from `start` on. False: it is not there. */
export function complete(data: usize, len: u32, start: u32, offset: u32): bool {
  if (start + offset + 2 > len) return false
  const sum = ~sumWords(data + start, len - start) & 0xffff
  store<u16>(data + start + offset, sum == 0 ? 0xffff : <u16>sum)
  return true
}

/** Completes what is not whole in the frame of a packet. */
export function completeGuessed(pkt: usize): void {
  let at = load<usize>(pkt, PKT_DATA)
  const end = at + load<u32>(pkt, PKT_LEN)
  for (let depth: i32 = 0; depth < DEPTH_MAX && at != 0; depth++) at = completeFrame(at, end)
}

/** One frame, [at, end). Returns where the frame inside of it begins, 0 when there is none. */
function completeFrame(at: usize, end: usize): usize {
  if (at + ETH_LEN + 28 > end) return 0
  let ip = at + 12
  while (isVlan(load<u16>(ip))) {
    ip += 4
    if (ip + 30 > end) return 0
  }
  const type = load<u16>(ip)
  ip += 2
  let l4: usize
  let proto: u32
  let sum: u32
  let bytes: u32
  if (type == BE_IP) {
    const size = (<u32>load<u8>(ip) & 15) << 2
    const total = <u32>bswap<u16>(load<u16>(ip, 2))
    if (size < 20 || total < size || ip + total > end || (load<u16>(ip, 6) & 0xff3f) != 0) return 0
    proto = load<u8>(ip, 9)
    l4 = ip + size
    bytes = total - size
    sum = sumWords(ip + 12, 8)
  } else if (type == BE_IPV6) {
    if (ip + 40 > end) return 0
    bytes = <u32>bswap<u16>(load<u16>(ip, 4))
    if (ip + 40 + bytes > end) return 0
    proto = load<u8>(ip, 6)
    l4 = ip + 40
    sum = sumWords(ip + 8, 32)
  } else return 0

  if (proto == GRE) return behindGre(l4, end)
  if (proto != TCP && proto != UDP) return 0
  if (bytes < (proto == TCP ? 20 : 8)) return 0
  const offset: u32 = proto == TCP ? 16 : 6
  const pseudo = fold(sum + (proto << 8) + <u32>bswap<u16>(<u16>bytes))
  if (<u32>load<u16>(l4 + offset) == pseudo) {
    complete(l4, bytes, 0, offset)
    return 0
  }
  return proto == UDP ? behindUdp(l4, end) : 0
}

function behindGre(gre: usize, end: usize): usize {
  const flags = <u32>load<u16>(gre)
  if ((flags & ~GRE_FLAGS) != 0 || load<u16>(gre, 2) != BE_TEB) return 0
  const inner = gre + 4 + (popcnt(flags) << 2)
  return inner < end ? inner : 0
}

function behindUdp(udp: usize, end: usize): usize {
  const dev = load<usize>(load<usize>(SUPER_UDP_PORTS) + ((<usize>load<u16>(udp, 2)) << 2))
  if (dev == 0) return 0
  const kind = load<u32>(dev, NETDEV_KIND)
  let inner = udp + 16
  if (kind == NETDEV_KIND_GENEVE) {
    if (inner > end || load<u16>(udp, 10) != BE_TEB) return 0
    inner += (<u32>load<u8>(udp, 8) & 0x3f) << 2
  } else if (kind != NETDEV_KIND_VXLAN) return 0
  return inner < end ? inner : 0
}
