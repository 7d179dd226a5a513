// Makes the captures in fixtures/ that nobody recorded: those of the first scenario, of the neighbour scenarios, and the
// damaged and refused ones. `npx tsx src/testing/make_fixtures.ts` writes them; a test holds what is there against this.
//
// Frames are built by the plainest means, apart from the product's own code, so that a mistake there shows.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  classicBytes,
  enhancedBlock,
  interfaceBlock,
  pcapngBytes,
  sectionBlock,
  type TestFrame,
} from './capture_bytes.ts'

type Bytes = readonly number[]

const be16 = (v: number): Bytes => [(v >>> 8) & 0xff, v & 0xff]
const be32 = (v: number): Bytes => [...be16(v >>> 16), ...be16(v & 0xffff)]
const mac = (text: string): Bytes => text.split(':').map((x) => Number.parseInt(x, 16))
const ip4 = (text: string): Bytes => text.split('.').map(Number)

function ip6(text: string): Bytes {
  const [head, tail = ''] = text.split('::')
  const words = (s: string) => (s === '' ? [] : s.split(':').map((x) => Number.parseInt(x, 16)))
  const [a, b] = [words(head), words(tail)]
  return [...a, ...new Array<number>(8 - a.length - b.length).fill(0), ...b].flatMap(be16)
}

function sum(bytes: Bytes): number {
  let s = 0
  for (let i = 0; i < bytes.length; i += 2) s += (bytes[i] << 8) | (bytes[i + 1] ?? 0)
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return ~s & 0xffff
}

interface Host {
  readonly mac: string
  readonly v4: string
  readonly v6: string
}

const UDP = 17
const TCP = 6

function ethernet(dst: string, src: string, type: number, payload: Bytes): Bytes {
  return [...mac(dst), ...mac(src), ...be16(type), ...payload]
}

function ipv4(src: string, dst: string, proto: number, payload: Bytes, tos = 0): Bytes {
  const head = [0x45, tos, ...be16(20 + payload.length), ...be16(1), 0x40, 0, 64, proto, 0, 0, ...ip4(src), ...ip4(dst)]
  return [...head.slice(0, 10), ...be16(sum(head)), ...head.slice(12), ...payload]
}

function ipv6(src: string, dst: string, proto: number, payload: Bytes): Bytes {
  return [0x60, 0, 0, 0, ...be16(payload.length), proto, 64, ...ip6(src), ...ip6(dst), ...payload]
}

/** A transport header with its checksum at `at`, over the pseudo header. */
function transport(pseudo: Bytes, proto: number, bytes: Bytes, at: number): Bytes {
  const c = sum([...pseudo, ...be32(bytes.length), ...be32(proto), ...bytes])
  return [...bytes.slice(0, at), ...be16(c), ...bytes.slice(at + 2)]
}

function udp(pseudo: Bytes, sport: number, dport: number, data: Bytes): Bytes {
  return transport(pseudo, UDP, [...be16(sport), ...be16(dport), ...be16(8 + data.length), 0, 0, ...data], 6)
}

function tcp(pseudo: Bytes, sport: number, dport: number, flags: number, data: Bytes): Bytes {
  return transport(
    pseudo,
    TCP,
    [
      ...be16(sport),
      ...be16(dport),
      ...be32(flags & 2 ? 1 : 2),
      ...be32(flags & 0x10 ? 2 : 0),
      0x50,
      flags,
      ...be16(64240),
      0,
      0,
      0,
      0,
      ...data,
    ],
    16,
  )
}

const text = (s: string): Bytes => [...new TextEncoder().encode(s)]

function udp4(from: Host, to: Host, sport: number, dport: number, data: Bytes): Bytes {
  return ethernet(
    to.mac,
    from.mac,
    0x0800,
    ipv4(from.v4, to.v4, UDP, udp([...ip4(from.v4), ...ip4(to.v4)], sport, dport, data)),
  )
}

function tcp4(from: Host, to: Host, sport: number, dport: number, flags: number, data: Bytes = []): Bytes {
  return ethernet(
    to.mac,
    from.mac,
    0x0800,
    ipv4(from.v4, to.v4, TCP, tcp([...ip4(from.v4), ...ip4(to.v4)], sport, dport, flags, data)),
  )
}

function udp6(from: Host, to: Host, sport: number, dport: number, data: Bytes): Bytes {
  return ethernet(
    to.mac,
    from.mac,
    0x86dd,
    ipv6(from.v6, to.v6, UDP, udp([...ip6(from.v6), ...ip6(to.v6)], sport, dport, data)),
  )
}

function arpReply(from: { mac: string; v4: string }, to: { mac: string; v4: string }): Bytes {
  return ethernet(to.mac, from.mac, 0x0806, [
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    2,
    ...mac(from.mac),
    ...ip4(from.v4),
    ...mac(to.mac),
    ...ip4(to.v4),
  ])
}

/** A frame inside VXLAN, as another endpoint sends it: UDP checksum zero (RFC 7348 4.1). */
function vxlan(from: { mac: string; v4: string }, to: { mac: string; v4: string }, vni: number, inner: Bytes): Bytes {
  const datagram = [
    ...be16(49152),
    ...be16(4789),
    ...be16(16 + inner.length),
    0,
    0,
    8,
    0,
    0,
    0,
    ...be32(vni << 8),
    ...inner,
  ]
  return ethernet(to.mac, from.mac, 0x0800, ipv4(from.v4, to.v4, UDP, datagram))
}

const host = (n: number): Host => ({
  mac: `02:aa:00:00:00:${n.toString(16).padStart(2, '0')}`,
  v4: `10.0.0.${n}`,
  v6: `fd00::${n.toString(16)}`,
})
const endpoint = (n: number) => ({ mac: `02:11:00:00:01:${n.toString(16).padStart(2, '0')}`, v4: `10.0.1.${n}` })
const p1 = { mac: '02:00:00:00:00:01', v4: '10.0.1.1' }

/** Frames at milliseconds from the start of the capture. */
function at(frames: readonly (readonly [ms: number, bytes: Bytes])[]): TestFrame[] {
  return frames.map(([ms, bytes]) => ({
    seconds: 1_700_000_000 + Math.floor(ms / 1000),
    nanos: Math.round((ms % 1000) * 1e6),
    bytes: Uint8Array.from(bytes),
  }))
}

const h11 = host(0x0b)
const h12 = host(0x0c)

/** Two hosts of ours talk to hosts behind four tunnel endpoints; one endpoint answers, one is asked for by ARP, one is silent. */
function first(): Record<string, Uint8Array> {
  const [h21, h22, h23, h24] = [0x15, 0x16, 0x17, 0x18].map(host)
  const ours: [number, Bytes][] = []
  for (let i = 0; i < 4; i++) ours.push([i * 10, udp4(h11, h21, 5000 + i, 4040, text(`question ${i}`))])
  for (let i = 0; i < 3; i++) ours.push([i * 10 + 4, udp6(h12, h24, 6000, 4242, text(`over IPv6, part ${i}`))])
  ours.push([40, tcp4(h12, h21, 40000, 80, 0x02)])
  ours.push([44, tcp4(h12, h21, 40000, 80, 0x10)])
  ours.push([48, tcp4(h12, h21, 40000, 80, 0x18, text('GET / HTTP/1.1\r\n\r\n'))])
  ours.push([52, tcp4(h11, h21, 40001, 23, 0x02)])
  for (let i = 0; i < 3; i++) ours.push([60 + i * 5, udp4(h11, h22, 5100, 7, text(`to be resolved ${i}`))])
  for (let i = 0; i < 3; i++) ours.push([80 + i * 5, udp4(h12, h23, 5200, 7, text(`never resolved ${i}`))])
  ours.push([110, udp4(h11, h22, 5100, 7, text('resolved by now'))])
  ours.sort((a, b) => a[0] - b[0])
  const theirs: [number, Bytes][] = [
    [15, vxlan(endpoint(2), p1, 100, udp4(h21, h11, 4040, 5000, text('answer 0')))],
    [25, vxlan(endpoint(2), p1, 100, udp4(h21, h11, 4040, 5001, text('answer 1')))],
    [42, vxlan(endpoint(2), p1, 100, tcp4(h21, h12, 80, 40000, 0x12))],
    [55, vxlan(endpoint(2), p1, 999, udp4(h21, h11, 4040, 5001, text('of nobody')))],
    [75, arpReply(endpoint(3), p1)],
  ]
  return { 'first/in-p0.pcap': classicBytes(at(ours)), 'first/in-p1.pcap': classicBytes(at(theirs)) }
}

/** One packet every 100 ms to one host, while the neighbour of its tunnel endpoint goes and comes back. */
function neighbourGoes(): Record<string, Uint8Array> {
  const packets: [number, Bytes][] = Array.from({ length: 20 }, (_, i) => [
    i * 100,
    udp4(h11, host(0x15), 5000, 4040, text(`packet ${i}`)),
  ])
  return { 'neigh-goes-and-comes/in-p0.pcapng': pcapngBytes(at(packets)) }
}

function damaged(): Record<string, Uint8Array> {
  const frames = at(
    Array.from({ length: 5 }, (_, i) => [i, udp4(h11, h12, 1000 + i, 9, text('x'.repeat(20)))] as const),
  )
  const classic = classicBytes(frames)
  const ng = pcapngBytes(frames)
  const record = 16 + frames[0].bytes.length
  const patch = (bytes: Uint8Array, offset: number, ...v: number[]) => {
    const out = bytes.slice()
    out.set(v, offset)
    return out
  }
  const enhanced = enhancedBlock(true, 0, 0n, frames[0].bytes).length
  const blocks = ng.length - 5 * enhanced
  const files: Record<string, Uint8Array> = {
    empty: new Uint8Array(0),
    'file-header-cut': classic.slice(0, 10),
    'record-header-cut': classic.slice(0, 24 + 3 * record + 7),
    'record-cut': classic.slice(0, 24 + 3 * record + 16 + 30),
    'length-impossible': patch(classic, 24 + 2 * record + 8, 0xf0, 0xff, 0xff, 0xff),
    'big-endian-nanoseconds-cut': classicBytes(frames, { le: false, nano: true }).slice(0, 24 + 4 * record + 20),
  }
  const ngFiles: Record<string, Uint8Array> = {
    'ng-block-cut': ng.slice(0, blocks + 3 * enhanced + 40),
    'ng-trailer-disagrees': patch(ng, blocks + 3 * enhanced - 4, 1, 2, 3, 4),
    'ng-interface-unknown': patch(ng, blocks + 2 * enhanced + 8, 9),
    'ng-length-impossible': patch(ng, blocks + enhanced + 20, 0xff, 0xff, 0xff, 0x7f),
    'ng-interface-wireless': Uint8Array.from([
      ...ng.slice(0, blocks + enhanced),
      ...interfaceBlock(true, 9, 105),
      ...ng.slice(blocks + enhanced),
    ]),
  }
  const refused: Record<string, Uint8Array> = {
    'link-type-cooked': classicBytes(frames, { link: 113 }),
    'link-type-raw-ng': Uint8Array.from([...sectionBlock(true), ...interfaceBlock(true, 9, 101)]),
    gzip: Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3),
    text: Uint8Array.from(text('this is no capture\n')),
  }
  const named = (folder: string, set: Record<string, Uint8Array>, ext: string) =>
    Object.entries(set).map(([name, bytes]) => [`${folder}/${name}/in-p0.${ext}`, bytes] as const)
  return Object.fromEntries([
    ...named('damaged', files, 'pcap'),
    ...named('damaged', ngFiles, 'pcapng'),
    ...named('refused', refused, 'pcap'),
  ])
}

/** The frame that the scenarios with mistakes in their rules bring along. */
function mistakes(): Record<string, Uint8Array> {
  const one = classicBytes(at([[0, udp4(h11, h12, 1000, 9, text('one'))]]))
  const names = [
    'unknown-key',
    'bad-address',
    'no-such-device',
    'filter-twice',
    'line-ends',
    'no-such-word',
    'timed-line',
  ]
  return Object.fromEntries(names.map((n) => [`mistakes/${n}/in-p0.pcap`, one]))
}

/** All of them: path below fixtures/, bytes. */
export function fixtures(): Record<string, Uint8Array> {
  return { ...first(), ...neighbourGoes(), ...damaged(), ...mistakes() }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, bytes] of Object.entries(fixtures())) {
    const file = fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, bytes)
  }
