// Connections as people read them: what `conntrack -L` says, as objects.

import type { Arena } from '../memory/arena.ts'
import * as C from '../memory/layout/conntrack.ts'
import { load } from '../sync/atomic.ts'
import { formatInet } from '../tc/address_text.ts'
import { connectionsOf } from './table.ts'

export interface TupleView {
  readonly src: string
  readonly dst: string
  /** Ports; of ICMP `id`, `type` and `code` instead. */
  readonly sport?: number
  readonly dport?: number
  readonly type?: number
  readonly code?: number
  readonly id?: number
}

export interface ConnectionView {
  readonly protocol: string
  /** Its number. */
  readonly number: number
  readonly zone: number
  /** Of TCP, SCTP, DCCP: ESTABLISHED, … */
  readonly state?: string
  /** Seconds that are left. */
  readonly timeout: number
  readonly original: TupleView
  readonly reply: TupleView
  /** UNREPLIED, ASSURED, OFFLOAD: as conntrack -L has them. */
  readonly status: readonly string[]
  readonly mark: number
  /** 32 hexadecimal digits, '' when there is none. */
  readonly label: string
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  47: 'gre',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
}
const ICMP = new Set(['icmp', 'icmpv6'])
const PORTS = new Set(['tcp', 'udp', 'dccp', 'sctp', 'udplite'])

/** By number; a connection of any of these protocols keeps its state at CONN_TCP_STATE. */
const STATES: Readonly<Record<string, readonly string[]>> = {
  tcp: 'NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2'.split(' '),
  sctp: 'NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT'.split(
    ' ',
  ),
  dccp: 'NONE REQUEST RESPOND PARTOPEN OPEN CLOSEREQ CLOSING TIMEWAIT'.split(' '),
}

function tupleView(a: Arena, t: number, protocol: string): TupleView {
  const { u8, d } = a
  const length = u8[t + C.TUPLE_FAMILY] === 4 ? 4 : 16
  const address = (at: number): string => formatInet(u8.subarray(at, at + length), length)
  const ends = { src: address(t + C.TUPLE_SRC), dst: address(t + C.TUPLE_DST) }
  const first = d.getUint16(t + C.TUPLE_SPORT)
  if (ICMP.has(protocol)) return { ...ends, type: u8[t + C.TUPLE_DPORT], code: u8[t + C.TUPLE_DPORT + 1], id: first }
  return PORTS.has(protocol) ? { ...ends, sport: first, dport: d.getUint16(t + C.TUPLE_DPORT) } : ends
}

function connectionView(a: Arena, conn: number, now: number): ConnectionView {
  const { m, u8 } = a
  const number = u8[conn + C.TUPLE_PROTO]
  const protocol = PROTOCOLS[number] ?? String(number)
  const bits = load(m, (conn + C.CONN_STATUS) >> 2)
  const status: string[] = []
  if (!(bits & C.IPS_SEEN_REPLY)) status.push('UNREPLIED')
  if (bits & C.IPS_ASSURED) status.push('ASSURED')
  if (bits & C.IPS_OFFLOAD) status.push('OFFLOAD')
  const label = Buffer.from(u8.slice(conn + C.CONN_LABELS, conn + C.CONN_LABELS + 16)).toString('hex')
  return {
    protocol,
    number,
    zone: a.d.getUint16(conn + C.TUPLE_ZONE, true),
    ...(STATES[protocol] ? { state: STATES[protocol][u8[conn + C.CONN_TCP_STATE]] } : {}),
    timeout: Math.ceil(((m[(conn + C.CONN_TIMEOUT) >> 2] - now) | 0) / 1000),
    original: tupleView(a, conn + C.CONN_ORIGINAL, protocol),
    reply: tupleView(a, conn + C.CONN_REPLY, protocol),
    status,
    mark: m[(conn + C.CONN_MARK) >> 2] >>> 0,
    label: /^0*$/.test(label) ? '' : label,
  }
}

/** The connections that live at `now` (milliseconds of the switch's clock), at most `most`, in no order. */
export const connectionList = (a: Arena, now: number, most?: number): ConnectionView[] =>
  connectionsOf(a, now, most).map((conn) => connectionView(a, conn, now))

const tupleText = (t: TupleView): string =>
  Object.entries(t)
    .map(([name, v]) => `${name}=${v}`)
    .join(' ')

/** A connection in a line, as `conntrack -L` prints it. */
export function connectionText(c: ConnectionView): string {
  const name = PROTOCOLS[c.number] ?? 'unknown'
  const flags = c.status.filter((s) => s !== 'UNREPLIED').map((s) => `[${s}] `)
  return (
    `${name.padEnd(8)} ${c.number} ${c.timeout} ${c.state === undefined ? '' : `${c.state} `}` +
    `${tupleText(c.original)} ${c.status.includes('UNREPLIED') ? '[UNREPLIED] ' : ''}${tupleText(c.reply)} ` +
    `${flags.join('')}mark=${c.mark}${c.zone === 0 ? '' : ` zone=${c.zone}`}${c.label === '' ? '' : ` labels=0x${c.label}`}`
  )
}
