// A frame in one line, from the outside in: Ethernet, tags, IP, transport, and the frame inside a VXLAN tunnel.
//
//   02:…:07 > 02:…:01, 10.0.1.1 > 10.0.1.2 udp 51234 > 4789, vxlan 100 [02:…:aa > 02:…:bb, 10.0.0.9 > 10.0.0.21 tcp 40000 > 80], 124 bytes
//
// It reads what is there, never further, and judges nothing: checksums and lengths are the datapath's business.

import { formatIpv4, formatIpv6, formatMac } from '../tc/address_text.ts'

const VXLAN_PORTS = [4789, 8472]
const be16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]

/** The line of a frame. */
export const frameLine = (b: Uint8Array): string => `${ethernet(b)}, ${b.length} bytes`

function ethernet(b: Uint8Array): string {
  if (b.length < 14) return 'cut short'
  let text = `${formatMac(b, 6)} > ${formatMac(b, 0)}`
  let at = 12
  while (at + 4 < b.length && (be16(b, at) === 0x8100 || be16(b, at) === 0x88a8)) {
    text += `, vlan ${be16(b, at + 2) & 0xfff}`
    at += 4
  }
  return `${text}, ${network(be16(b, at), b.subarray(at + 2))}`
}

function network(type: number, b: Uint8Array): string {
  if (type === 0x0800 && b.length >= 20) {
    const fragment = be16(b, 6) & 0x3fff ? ' fragment' : ''
    const text = `${formatIpv4(b, 12)} > ${formatIpv4(b, 16)}${fragment}`
    return be16(b, 6) & 0x1fff ? text : `${text} ${transport(b[9], b.subarray((b[0] & 15) * 4))}`
  }
  if (type === 0x86dd && b.length >= 40)
    return `${formatIpv6(b, 8)} > ${formatIpv6(b, 24)} ${transport(b[6], b.subarray(40))}`
  if (type === 0x0806 && b.length >= 28)
    return be16(b, 6) === 1
      ? `arp who has ${formatIpv4(b, 24)}, says ${formatIpv4(b, 14)}`
      : `arp ${formatIpv4(b, 14)} is at ${formatMac(b, 8)}`
  return `type 0x${type.toString(16).padStart(4, '0')}`
}

function transport(protocol: number, b: Uint8Array): string {
  const ports = b.length >= 4 ? ` ${be16(b, 0)} > ${be16(b, 2)}` : ''
  if (protocol === 6) return `tcp${ports}`
  if (protocol === 17) {
    if (!VXLAN_PORTS.includes(be16(b, 2)) || b.length < 16) return `udp${ports}`
    const vni = (b[12] << 16) | be16(b, 13)
    return `udp${ports}, vxlan ${vni} [${ethernet(b.subarray(16))}]`
  }
  if (protocol === 1 || protocol === 58) return `${protocol === 1 ? 'icmp' : 'icmp6'} type ${b[0]} code ${b[1]}`
  return `protocol ${protocol}`
}
