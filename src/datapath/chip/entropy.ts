// The hash of the flow that a frame belongs to: where a tunnel's UDP source port comes from (skb_get_hash,
// udp_flow_src_port). Addresses and ports of the frame's own IP packet; without IP its Ethernet addresses.
// A number of our own: the kernel's depends on a random secret.

import { BE_IP, BE_IPV6, isVlan, ETH_LEN } from './frame.ts'
import { mix } from './hash.ts'

const IPPROTO_TCP: u32 = 6
const IPPROTO_UDP: u32 = 17
const IPPROTO_SCTP: u32 = 132

// @ts-ignore: decorator
@inline
function hasPorts(ipProto: u32): bool {
  return ipProto == IPPROTO_UDP || ipProto == IPPROTO_TCP || ipProto == IPPROTO_SCTP
}

/** Of an untagged IPv4 packet with ports behind a plain header. */
// @ts-ignore: decorator
@inline
export function plainFlowHash(data: usize): u32 {
  return mix(load<u64>(data, 26), (<u64>load<u32>(data, 34) << 8) | load<u8>(data, 23)) | 1
}

/** Never 0. */
// @ts-ignore: decorator
@inline
export function flowHash(data: usize, len: u32): u32 {
  // Untagged IPv4 with a plain header: the addresses and the ports are all there is to see.
  if (len >= 38 && load<u16>(data, 12) == BE_IP && (load<u8>(data, 14) & 15) == 5) {
    if ((load<u16>(data, 20) & 0xff3f) == 0 && hasPorts(load<u8>(data, 23))) return plainFlowHash(data)
    return mix(load<u64>(data, 26), load<u8>(data, 23)) | 1
  }
  return otherFlowHash(data, len)
}

/** Of a packet without Ethernet header, whose type stands in front of it: IP as in a frame, of others the first word. */
export function bareFlowHash(data: usize, len: u32): u32 {
  const type = <u32>load<u16>(data - 2)
  if (type == BE_IP || type == BE_IPV6) return flowHash(data - ETH_LEN, len + ETH_LEN)
  return mix(len < 4 ? 0 : load<u32>(data), type) | 1
}

function otherFlowHash(data: usize, len: u32): u32 {
  let at: u32 = ETH_LEN
  if (len < at) return 1
  let type = <u32>load<u16>(data, 12)
  let tag: u64 = 0
  while (isVlan(type) && at + 4 <= len) {
    tag = (tag << 16) | load<u16>(data + at)
    type = load<u16>(data + at, 2)
    at += 4
  }
  const ip = data + at
  let addresses: u64 = 0
  let rest: u64 = 0
  if (type == BE_IP && at + 20 <= len && (load<u8>(ip) & 15) >= 5) {
    const ports = at + ((load<u8>(ip) & 15) << 2)
    const ipProto = <u32>load<u8>(ip, 9)
    addresses = load<u64>(ip, 12)
    rest = ipProto
    if ((load<u16>(ip, 6) & 0xff3f) == 0 && hasPorts(ipProto) && ports + 4 <= len) rest |= <u64>load<u32>(data + ports) << 8
  } else if (type == BE_IPV6 && at + 40 <= len) {
    const ipProto = <u32>load<u8>(ip, 6)
    addresses = load<u64>(ip, 8) ^ rotl<u64>(load<u64>(ip, 16), 11) ^ rotl<u64>(load<u64>(ip, 24), 23) ^ rotl<u64>(load<u64>(ip, 32), 37)
    rest = ipProto
    if (hasPorts(ipProto) && at + 44 <= len) rest |= <u64>load<u32>(ip, 40) << 8
  } else {
    addresses = load<u64>(data)
    rest = load<u32>(data, 8)
  }
  return mix(addresses, rest ^ rotl<u64>(tag, 40)) | 1
}
