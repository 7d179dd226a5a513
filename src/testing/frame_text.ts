// A frame in one line, for tests that say what they expect in the packet's words:
//   "p1 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 10.0.1.2 tell 10.0.1.1"

import * as Arp from '../wire/arp.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp from '../wire/icmp.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import * as Nd from '../wire/nd.ts'
import * as Tcp from '../wire/tcp.ts'
import * as Udp from '../wire/udp.ts'
import { macText } from './packets.ts'

/** 10.0.1.2 or fd00:1::2, of sixteen bytes. */
export function addressText(b: Uint8Array, v6: boolean): string {
  if (!v6) return Array.from(b.subarray(0, 4)).join('.')
  const words = Array.from({ length: 8 }, (_, i) => (b[2 * i] << 8) | b[2 * i + 1])
  let [best, length] = [-1, 1]
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && words[i + n] === 0) n++
    if (n > length) [best, length] = [i, n]
  }
  const text = (w: number[]): string => w.map((x) => x.toString(16)).join(':')
  return best < 0 ? text(words) : `${text(words.slice(0, best))}::${text(words.slice(best + length))}`
}

/** The frame's headers and what is wrong with its checksums. */
export function frameText(f: Uint8Array): string {
  const d = new DataView(f.buffer, f.byteOffset, f.byteLength)
  const eth = `${macText(f, 6)} > ${macText(f, 0)}`
  const type = Eth.type(d, 0)
  if (type === Eth.ETH_P_ARP) {
    const [spa, tpa] = [
      addressText(Arp.senderAddress(d, Eth.LEN), false),
      addressText(Arp.targetAddress(d, Eth.LEN), false),
    ]
    return Arp.operation(d, Eth.LEN) === Arp.REQUEST
      ? `${eth} arp who-has ${tpa} tell ${spa}`
      : `${eth} arp ${spa} is-at ${macText(Arp.senderMac(d, Eth.LEN))} to ${tpa}`
  }
  if (type === Eth.ETH_P_IP) return `${eth} ${ipv4Text(f, d)}`
  if (type === Eth.ETH_P_IPV6) return `${eth} ${ipv6Text(f, d)}`
  return `${eth} type ${type.toString(16)} length ${f.length}`
}

function ipv4Text(f: Uint8Array, d: DataView): string {
  const ip = Eth.LEN
  const at = ip + Ipv4.headerLength(d, ip)
  const wrong = Ipv4.checksumOk(d, ip) ? '' : ' (ip checksum wrong)'
  const frag = Ipv4.isFragment(d, ip)
    ? ` frag ${Ipv4.fragmentOffset(d, ip)}${Ipv4.moreFragments(d, ip) ? '+' : ''}`
    : ''
  const head = `${addressText(Ipv4.src(d, ip), false)} > ${addressText(Ipv4.dst(d, ip), false)}${frag}${wrong}`
  if (frag) return `${head} length ${Ipv4.totalLength(d, ip)}`
  return `${head} ${transportText(f, d, ip, at, Ipv4.protocol(d, ip), false)}`
}

function ipv6Text(f: Uint8Array, d: DataView): string {
  const ip = Eth.LEN
  const t = Ipv6.transport(d, ip, f.length)
  const head = `${addressText(Ipv6.src(d, ip), true)} > ${addressText(Ipv6.dst(d, ip), true)}`
  return t === null ? `${head} cut` : `${head} ${transportText(f, d, ip, t.at, t.proto, true)}`
}

function transportText(f: Uint8Array, d: DataView, ip: number, at: number, proto: number, v6: boolean): string {
  const n = f.length - at
  const pseudo = (): boolean => complement(pseudoSum(d, ip, v6, proto, n) + sum(d, at, n)) === 0
  if (proto === Ipv4.IPPROTO_UDP) {
    const right = Udp.checksum(d, at) === 0 || pseudo()
    return `udp ${Udp.srcPort(d, at)} > ${Udp.dstPort(d, at)} length ${Udp.length(d, at)}${right ? '' : ' (checksum wrong)'}`
  }
  if (proto === Ipv4.IPPROTO_TCP) {
    const names = ['F', 'S', 'R', 'P', '.'].filter((_, i) => Tcp.flags(d, at) & (1 << i)).join('')
    return `tcp ${Tcp.srcPort(d, at)} > ${Tcp.dstPort(d, at)} [${names}] seq ${Tcp.sequence(d, at)} ack ${Tcp.acknowledgment(d, at)}${pseudo() ? '' : ' (checksum wrong)'}`
  }
  if (proto === Ipv4.IPPROTO_ICMP) {
    const right = complement(sum(d, at, n)) === 0
    return `icmp ${Icmp.type(d, at)}/${Icmp.code(d, at)} rest ${Icmp.rest(d, at)} length ${n}${right ? '' : ' (checksum wrong)'}`
  }
  if (proto !== Ipv6.NEXTHDR_ICMP || !v6) return `proto ${proto} length ${n}`
  const wrong = pseudo() ? '' : ' (checksum wrong)'
  const type = Icmp6.type(d, at)
  if (type !== Nd.NDISC_NEIGHBOUR_SOLICITATION && type !== Nd.NDISC_NEIGHBOUR_ADVERTISEMENT)
    return `icmp6 ${type}/${Icmp6.code(d, at)} rest ${Icmp6.rest(d, at)} length ${n}${wrong}`
  const kind = type === Nd.NDISC_NEIGHBOUR_SOLICITATION ? 'ns' : 'na'
  const flags = ['R', 'S', 'O'].filter((_, i) => Nd.flags(d, at) & (0x80000000 >>> i)).join('')
  const option = n > Nd.LEN ? ` mac ${macText(f, at + Nd.LEN + 2)}` : ''
  return `${kind} ${addressText(Nd.target(d, at), true)}${flags ? ` ${flags}` : ''}${option}${wrong}`
}
