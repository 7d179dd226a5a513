// nat: stateless translation of one IPv4 address (net/sched/act_nat.c). It does not look at the protocol of the frame.

import { PKT_DATA, PKT_LEN } from '../../memory/layout/packet.ts'
import { replace4 } from './checksum.ts'
import { networkHeader } from './frame.ts'

const ICMP: u32 = 1
const TCP: u32 = 6
const UDP: u32 = 17

/** ICMP types that carry a packet of ours: unreachable, source quench, redirect, time exceeded, parameter problem. */
function isError(type: u32): bool {
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12
}

/** OP_NAT: addresses and mask as on the wire. False: a header is cut short. */
export function nat(pkt: usize, old: u32, to: u32, mask: u32, egress: bool): bool {
  const ip = networkHeader(pkt)
  const n = <i32>(load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN) - ip)
  if (n < 20) return false
  const later = (load<u16>(ip, 6) & 0xff1f) != 0
  const ipProto = <u32>load<u8>(ip, 9)
  const field: usize = egress ? 12 : 16
  let addr = load<u32>(ip + field)
  let renamed: u32 = 0
  if (((old ^ addr) & mask) == 0) {
    renamed = (to & mask) | (addr & ~mask)
    store<u32>(ip + field, renamed)
    store<u16>(ip, <u16>replace4(load<u16>(ip, 10), addr, renamed), 10)
  } else if (later || ipProto != ICMP) {
    return true
  }
  if (later) return true
  const header = <i32>(load<u8>(ip) & 15) << 2
  const t = ip + header
  if (ipProto == TCP) {
    if (header + 20 > n) return false
    store<u16>(t, <u16>replace4(load<u16>(t, 16), addr, renamed), 16)
  } else if (ipProto == UDP) {
    if (header + 8 > n) return false
    if (load<u16>(t, 6) != 0) {
      const check = replace4(load<u16>(t, 6), addr, renamed)
      store<u16>(t, <u16>(check == 0 ? 0xffff : check), 6)
    }
  } else if (ipProto == ICMP) {
    if (header + 8 > n) return false
    if (!isError(load<u8>(t))) return true
    if (header + 28 > n) return false
    const inner: usize = egress ? 24 : 20
    addr = load<u32>(t + inner)
    if (((old ^ addr) & mask) != 0) return true
    renamed = (to & mask) | (addr & ~mask)
    store<u32>(t + inner, renamed)
    store<u16>(t, <u16>replace4(load<u16>(t, 2), addr, renamed), 2)
  }
  return true
}
