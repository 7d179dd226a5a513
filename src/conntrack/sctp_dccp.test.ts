// SCTP associations and DCCP connections: the states that their packets lead to, and what is invalid.
import { beforeEach, describe, expect, test } from 'vitest'
import { ipFrame } from '../testing/packets.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import { connectionText } from './show.ts'
import { World } from './world.fixture.ts'

const CLIENT = '10.0.0.1'
const SERVER = '10.0.0.2'
let w: World
beforeEach(() => {
  w = new World()
})

const be = (v: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.floor(v / 256 ** (n - 1 - i)) % 256)

/** Sends a segment from the client (p0) or the server (p1). */
function send(server: boolean, proto: number, segment: Uint8Array): string {
  const [src, dst] = server ? [SERVER, CLIENT] : [CLIENT, SERVER]
  return w.send(server ? 1 : 0, ipFrame(proto, segment, { src, dst }))
}
const state = (): string => w.connections.map((c) => `${c.state} ${c.timeout} ${c.status.join(' ')}`.trim()).join('; ')

/** CRC32c, bit by bit (RFC 9260 appendix A). */
function crc32c(b: Uint8Array): number {
  let crc = -1
  for (const byte of b) {
    crc ^= byte
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

const chunk = (type: number, body: readonly number[] = [], flags = 0): number[] => [
  type,
  flags,
  ...be(4 + body.length, 2),
  ...body,
]
const init = (tag: number, ack = false): number[] => chunk(ack ? 2 : 1, [...be(tag, 4), ...new Array(12).fill(0)])

function sctp(server: boolean, tag: number, ...chunks: number[][]): string {
  const ports = server ? [...be(7000, 2), ...be(4000, 2)] : [...be(4000, 2), ...be(7000, 2)]
  const segment = Uint8Array.from([...ports, ...be(tag, 4), 0, 0, 0, 0, ...chunks.flat()])
  new DataView(segment.buffer).setUint32(8, crc32c(segment), true)
  return send(server, 132, segment)
}

const DATA = chunk(0, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])

describe('sctp', () => {
  /** The four packets of an association whose client is spoken to with tag 0x11, its server with 0x22. */
  function established(): void {
    expect(sctp(false, 0, init(0x11))).toBe('new')
    expect(state()).toBe('CLOSED 10 UNREPLIED')
    expect(sctp(true, 0x11, init(0x22, true))).toBe('est rpl')
    expect(state()).toBe('COOKIE_WAIT 3')
    expect(sctp(false, 0x22, chunk(10, [1, 2, 3, 4]))).toBe('est')
    expect(state()).toBe('COOKIE_ECHOED 3')
    expect(sctp(true, 0x11, chunk(11))).toBe('est rpl')
    expect(state()).toBe('ESTABLISHED 210 ASSURED')
  }

  test('an association is set up and shut down', () => {
    established()
    expect(sctp(false, 0x22, DATA)).toBe('est')
    expect(sctp(false, 0x22, chunk(7, [0, 0, 0, 1]))).toBe('est')
    expect(state()).toBe('SHUTDOWN_SENT 3 ASSURED')
    expect(sctp(true, 0x11, chunk(8))).toBe('est rpl')
    expect(state()).toBe('SHUTDOWN_ACK_SENT 3 ASSURED')
    expect(sctp(false, 0x22, chunk(14))).toBe('est')
    expect(state()).toBe('CLOSED 10 ASSURED')
  })

  test('as conntrack -L shows it', () => {
    established()
    expect(connectionText(w.connections[0])).toBe(
      'sctp     132 210 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=4000 dport=7000 ' +
        'src=10.0.0.2 dst=10.0.0.1 sport=7000 dport=4000 [ASSURED] mark=0',
    )
  })

  test('a tag that is not the one agreed upon is invalid, and changes nothing', () => {
    established()
    expect(sctp(false, 0x23, DATA)).toBe('inv')
    expect(sctp(false, 0x23, chunk(7, [0, 0, 0, 1]))).toBe('inv')
    expect(sctp(true, 0x22, chunk(6))).toBe('inv')
    expect(state()).toBe('ESTABLISHED 210 ASSURED')
    expect(sctp(true, 0x22, chunk(6, [], 1))).toBe('est rpl') // with the T bit the tag is the sender's own
    expect(state()).toBe('CLOSED 10 ASSURED')
  })

  test('what does not begin an association is invalid', () => {
    expect(sctp(false, 5, DATA)).toBe('inv')
    expect(sctp(false, 5, init(0x11))).toBe('inv') // an INIT has no tag
    expect(sctp(false, 5, chunk(6))).toBe('inv')
    expect(sctp(false, 0, init(0x11), DATA)).toBe('inv') // an INIT comes alone
    expect(sctp(false, 0)).toBe('inv')
    expect(sctp(false, 0, [1, 0, 0, 0])).toBe('inv')
    expect(w.connections).toEqual([])
  })

  test('a wrong checksum', () => {
    const segment = Uint8Array.from([...be(4000, 2), ...be(7000, 2), 0, 0, 0, 0, 1, 2, 3, 4, ...init(0x11)])
    expect(send(false, 132, segment)).toBe('inv')
    expect(send(false, 132, segment.subarray(0, 10))).toBe('inv')
  })

  test('a second path begins with a heartbeat', () => {
    expect(sctp(false, 0x22, chunk(4, [0, 1, 0, 4]))).toBe('new')
    expect(state()).toBe('HEARTBEAT_SENT 30 UNREPLIED')
    expect(sctp(true, 0x11, chunk(5, [0, 1, 0, 4]))).toBe('est rpl')
    expect(state()).toBe('ESTABLISHED 210 ASSURED')
    expect(sctp(false, 0x22, DATA)).toBe('est')
  })

  test('an INIT that is sent again prolongs nothing', () => {
    sctp(false, 0, init(0x11))
    w.wait(4000)
    expect(sctp(false, 0, init(0x11))).toBe('new')
    expect(state()).toBe('CLOSED 6 UNREPLIED')
  })
})

const [REQUEST, RESPONSE, DCCP_DATA, ACK, CLOSEREQ, CLOSE, RESET, SYNC] = [0, 1, 2, 3, 5, 6, 7, 8]

/** A packet with the long header; `ack` is the number that it acknowledges. */
function dccp(server: boolean, type: number, seq: number, ack = 0): string {
  const ports = server ? [...be(7000, 2), ...be(4000, 2)] : [...be(4000, 2), ...be(7000, 2)]
  const head = [...ports, 6, 0, 0, 0, (type << 1) | 1, 0, 0, 0, ...be(seq, 4), 0, 0, 0, 0, ...be(ack, 4)]
  const [src, dst] = server ? [SERVER, CLIENT] : [CLIENT, SERVER]
  const f = ipFrame(33, Uint8Array.from(head), { src, dst })
  const d = new DataView(f.buffer)
  const at = f.length - head.length
  d.setUint16(at + 6, complement(pseudoSum(d, Eth.LEN, false, 33, head.length) + sum(d, at, head.length)))
  return w.send(server ? 1 : 0, f)
}

describe('dccp', () => {
  function open(): void {
    expect(dccp(false, REQUEST, 1)).toBe('new')
    expect(state()).toBe('REQUEST 240 UNREPLIED')
    expect(dccp(true, RESPONSE, 100, 1)).toBe('est rpl')
    expect(state()).toBe('RESPOND 480')
    expect(dccp(false, ACK, 2, 100)).toBe('est')
    expect(state()).toBe('PARTOPEN 480 ASSURED')
    expect(dccp(true, DCCP_DATA, 101)).toBe('est rpl')
    expect(state()).toBe('OPEN 43200 ASSURED')
  }

  test('a connection is opened and closed', () => {
    open()
    expect(dccp(true, CLOSEREQ, 102, 2)).toBe('est rpl')
    expect(state()).toBe('CLOSEREQ 64 ASSURED')
    expect(dccp(false, CLOSE, 3, 102)).toBe('est')
    expect(state()).toBe('CLOSING 64 ASSURED')
    expect(dccp(true, RESET, 103, 3)).toBe('est rpl')
    expect(state()).toBe('TIMEWAIT 240 ASSURED')
    // The server of before asks now: the roles change.
    expect(dccp(true, REQUEST, 200)).toBe('est rpl')
    expect(state()).toBe('REQUEST 240 ASSURED')
    expect(dccp(false, RESPONSE, 300, 200)).toBe('est')
    expect(state()).toBe('RESPOND 480 ASSURED')
  })

  test('what the state does not allow is invalid; a Sync says nothing', () => {
    expect(dccp(false, ACK, 1, 1)).toBe('inv')
    open()
    expect(dccp(false, CLOSEREQ, 3, 101)).toBe('inv')
    w.wait(1000)
    expect(dccp(false, SYNC, 3, 101)).toBe('est')
    expect(state()).toBe('OPEN 43199 ASSURED')
  })

  test('an acknowledgement of something else does not assure', () => {
    dccp(false, REQUEST, 1)
    dccp(true, RESPONSE, 100, 1)
    dccp(false, ACK, 2, 99)
    expect(state()).toBe('PARTOPEN 480')
  })

  test('a Reset that is the first answer ends it at once', () => {
    dccp(false, REQUEST, 1)
    expect(dccp(true, RESET, 100, 1)).toBe('est rpl')
    expect(w.connections).toEqual([])
  })

  test('a Request that was let through, and answered', () => {
    open()
    expect(dccp(false, REQUEST, 50)).toBe('est')
    expect(state()).toBe('OPEN 43200 ASSURED')
    expect(dccp(true, RESPONSE, 500, 50)).toBe('est rpl')
    expect(state()).toBe('RESPOND 480 ASSURED')
  })

  test('cut short, a wrong checksum', () => {
    expect(send(false, 33, Uint8Array.of(1, 2, 3, 4, 3, 0, 0, 0, 0, 0))).toBe('inv')
    expect(send(false, 33, Uint8Array.of(1, 2, 3, 4, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1))).toBe(
      'inv',
    )
  })
})
