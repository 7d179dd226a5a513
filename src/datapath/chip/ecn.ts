// Explicit congestion notification through a tunnel's end (RFC 6040 as the kernel does it: INET_ECN_decapsulate).

import { add16 } from './checksum.ts'
import { BE_IP, BE_IPV6 } from './frame.ts'

const ECT_1: u32 = 1
const ECT_0: u32 = 2
const CE: u32 = 3

/** INET_ECN_set_ce, of a packet with `n` bytes behind `ip`: not-ECT stays. */
export function setCe(ip: usize, n: i32, type: u32): void {
  if (n >= (type == BE_IP ? 20 : 40)) decapsulateEcn(CE, ip, type)
}

/**
 * Carries the outer ECN over to the inner packet at `ip`, whose protocol is `type`. False: congestion was experienced
 * by a packet that cannot say so, it must be dropped.
 */
export function decapsulateEcn(outerTos: u32, ip: usize, type: u32): bool {
  const outer = outerTos & 3
  if (outer == 0 || outer == ECT_0) return true
  if (type == BE_IP) {
    const tos = <u32>load<u8>(ip, 1)
    const inner = tos & 3
    if (inner == 0) return outer != CE
    const ecn = outer == CE ? CE : inner == ECT_0 ? ECT_1 : inner
    if (ecn == inner) return true
    // The tos is the low byte of the header's first word: the checksum grows by what it loses. The kernel's two ways
    // (IP_ECN_set_ce, IP_ECN_set_ect1) differ in how they write a sum of zero.
    const check = <u32>load<u16>(ip, 10)
    if (ecn == CE) {
      store<u16>(ip, <u16>add16(check, <u32>bswap<u16>(<u16>(0xffff - (CE - inner)))), 10)
    } else {
      const sum = check + 0x0100
      store<u16>(ip, <u16>(sum + (sum >= 0xffff ? 1 : 0)), 10)
    }
    store<u8>(ip, <u8>((tos & 0xfc) | ecn), 1)
    return true
  }
  if (type == BE_IPV6) {
    const inner = (<u32>load<u8>(ip, 1) >>> 4) & 3
    if (inner == 0) return outer != CE
    const ecn = outer == CE ? CE : inner == ECT_0 ? ECT_1 : inner
    store<u8>(ip, <u8>((load<u8>(ip, 1) & 0xcf) | (ecn << 4)), 1)
  }
  return true
}
