// Checksums that only begin, completed by the chip: where it is told, and where it has to see it itself (AF_XDP).
import { describe, expect, test, vi } from 'vitest'
import { Datapath } from '../datapath/chip.ts'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_LEN } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import { SUPER_PACKETS } from '../memory/layout/super.ts'
import { handDevice } from '../testing/hand_table.ts'
import { tagged, tcp, udp, vxlan } from '../testing/packets.ts'

// Each world is an arena and an instance of the chip: slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const SLOT_AT = 640

interface Rig {
  readonly a: Arena
  readonly dp: Datapath
  /** The frame through an AF_XDP ring whose kernel's side is the test's. */
  receive(frame: Uint8Array): Uint8Array
}

/** A queue with rings in plain memory: the test plays the kernel. */
function rig(): Rig {
  const a = createArena({ bytes: 64 << 20, packets: 64, counters: 64, emc: 64 })
  const dp = new Datapath(a, 0)
  handDevice(a, 1)
  handDevice(a, 2, { kind: N.NETDEV_KIND_VXLAN, udpPort: 4789 } as never)
  const { m } = a
  const q = reserve(a, Q.QUEUE_SIZE)
  const set = (field: number, v: number): void => {
    m[(q + field) >> 2] = v
  }
  for (const f of [Q.XSK_RX_PRODUCER, Q.XSK_RX_CONSUMER, Q.XSK_FILL_PRODUCER, Q.XSK_FILL_CONSUMER])
    set(f, reserve(a, 64))
  set(Q.XSK_RX, reserve(a, 16 * 16))
  set(Q.XSK_FILL, reserve(a, 16 * 8))
  set(Q.XSK_MASK, 15)
  set(Q.XSK_UMEM, m[SUPER_PACKETS >> 2])
  set(Q.QUEUE_FLAGS, Q.QUEUE_F_PARTIAL)
  const list = reserve(a, 64)
  let at = 0
  return {
    a,
    dp,
    receive(frame) {
      dp.rings.xdpFill(q, 0)
      const slot = a.d.getUint32(m[(q + Q.XSK_FILL) >> 2] + (at & 15) * 8, true)
      const data = m[SUPER_PACKETS >> 2] + slot + SLOT_AT
      a.u8.set(frame, data)
      const d = m[(q + Q.XSK_RX) >> 2] + (at & 15) * 16
      a.d.setUint32(d, slot, true)
      a.d.setUint32(d + 4, SLOT_AT << 16, true)
      a.d.setUint32(d + 8, frame.length, true)
      m[m[(q + Q.XSK_RX_PRODUCER) >> 2] >> 2] = ++at
      expect(dp.rings.xdpReceive(q, list, 8)).toBe(1)
      const pkt = m[list >> 2]
      expect(m[(pkt + PKT_LEN) >> 2]).toBe(frame.length)
      const out = dp.frame(pkt).slice()
      dp.release(pkt)
      return out
    },
  }
}

const fold = (sum: number): number => {
  const s = (sum & 0xffff) + (sum >>> 16)
  return (s + (s >>> 16)) & 0xffff
}

/** The frame with only the pseudo header's sum in the field of its checksum. */
function partial(frame: Uint8Array, ip: number): Uint8Array {
  const f = frame.slice()
  const d = new DataView(f.buffer)
  const six = f[ip] >> 4 === 6
  const l4 = ip + (six ? 40 : 20)
  const proto = six ? f[ip + 6] : f[ip + 9]
  const length = six ? d.getUint16(ip + 4) : d.getUint16(ip + 2) - 20
  let sum = proto + length
  for (let o = six ? ip + 8 : ip + 12; o < l4; o += 2) sum += d.getUint16(o)
  d.setUint16(l4 + (proto === 6 ? 16 : 6), fold(sum))
  return f
}

const data = Uint8Array.from({ length: 301 }, (_, i) => i * 3)
const whole = {
  tcp4: tcp({ src: '10.0.0.1', dst: '10.0.0.2', data } as never),
  udp4: udp({ src: '10.0.0.1', dst: '10.0.0.2', data }),
  tcp6: tcp({ src: 'fd00::1', dst: 'fd00::2', data } as never),
  udp6: udp({ src: 'fd00::1', dst: 'fd00::2', data }),
}

describe.each(Object.entries(whole))('%s', (_, frame) => {
  test('one that only begins is completed; one that is whole stays as it is', () => {
    const r = rig()
    expect(r.receive(partial(frame, 14))).toEqual(frame)
    expect(r.receive(frame)).toEqual(frame)
    expect(r.receive(partial(tagged(frame, 5), 18))).toEqual(tagged(frame, 5))
  })

  test('so inside of a tunnel of ours', () => {
    const r = rig()
    const inner = { src: '192.168.0.1', dst: '192.168.0.2', checksum: false }
    expect(r.receive(vxlan(partial(frame, 14), 7, inner))).toEqual(vxlan(frame, 7, inner))
    expect(r.receive(vxlan(frame, 7, inner))).toEqual(vxlan(frame, 7, inner))
  })

  test('a wrong one stays wrong, a cut one is left alone', () => {
    const r = rig()
    const wrong = frame.slice()
    wrong[frame.length - 1] ^= 0x55
    expect(r.receive(wrong)).toEqual(wrong)
    for (let n = 14; n < 80; n += 3)
      expect(r.receive(partial(frame, 14).subarray(0, n))).toEqual(partial(frame, 14).subarray(0, n))
  })
})

test('a place that is not in the frame is refused', () => {
  const { dp, a } = rig()
  const at = reserve(a, 64)
  expect(dp.rings.completeChecksum(at, 60, 50, 9)).toBe(0)
  expect(dp.rings.completeChecksum(at, 60, 50, 8)).toBe(1)
})
