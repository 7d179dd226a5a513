// A switch for tests of connection tracking. Packets of p0 and p1 are tracked in a zone; then each leaves by a port that
// says what it was: new ones (which are committed), established and related ones, each way, invalid ones.

import { chipModule } from '../datapath/chip_module.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { type IpText, ipFrame, macBytes } from '../testing/packets.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import { type ConnectionView, connectionList } from './show.ts'

chipModule() // built here, where no test's time runs

const STATES = ['p0', 'p1', 'new', 'est', 'est rpl', 'rel', 'rel rpl', 'inv'] as const

export interface WorldOptions {
  /** Words of the action that tracks: `zone 5 nat`. */
  track?: string
  /** Actions for new packets. */
  commit?: string
  connections?: number
  /** Datapath workers of other threads. */
  workers?: number
}

export class World {
  readonly sw: Switch
  /** What left, in order. */
  readonly frames: Uint8Array[] = []
  readonly #ports: string[] = []

  constructor(o: WorldOptions = {}) {
    this.sw = createSwitch({
      ports: STATES.map((_, i) => ({ name: `p${i}`, mac: macBytes(`02:00:00:00:00:0${i}`), mtu: 1500 })),
      arenaBytes: 256 << 20,
      connections: o.connections,
      workers: o.workers,
    })
    this.sw.onOutput((port, at, length) => {
      this.#ports.push(STATES[port])
      this.frames.push(this.sw.arena.u8.slice(at, at + length))
    })
    this.sw.advance(1e9)
    const { track = '', commit = 'action ct commit' } = o
    for (const p of ['p0', 'p1']) {
      this.tc(`qdisc add dev ${p} clsact`)
      for (const proto of ['ip', 'ipv6']) {
        const pref = proto === 'ip' ? 1 : 2
        this.tc(
          `filter add dev ${p} ingress protocol ${proto} pref ${pref} flower ct_state -trk action ct ${track} pipe action goto chain 1`,
        )
        const states = ['+trk+new', '+trk+est-rpl', '+trk+est+rpl', '+trk+rel-rpl', '+trk+rel+rpl', '+trk+inv']
        states.forEach((state, i) => {
          const before = i === 0 ? `${commit} pipe ` : ''
          this.tc(
            `filter add dev ${p} ingress protocol ${proto} pref ${10 + 2 * i + pref} chain 1 flower ct_state ${state} ${before}action mirred egress redirect dev p${2 + i}`,
          )
        })
      }
    }
  }

  tc(line: string): string {
    return execute(this.sw, ['tc', ...line.split(/\s+/)])
  }

  /** Sends a frame into p0 or p1; where it left, '' when it did not, and the last frame that left. */
  send(port: number, frame: Uint8Array): string {
    this.#ports.length = 0
    this.frames.length = 0
    this.sw.input(port, frame)
    return this.#ports.join(', ')
  }

  /** The frame that `send` made leave. */
  get last(): Uint8Array {
    return this.frames[this.frames.length - 1]
  }

  /** Lets milliseconds pass. */
  wait(ms: number): void {
    this.sw.advance(this.sw.now + ms * 1e6)
  }

  get connections(): ConnectionView[] {
    return connectionList(this.sw.arena, Math.floor(this.sw.now / 1e6))
  }

  drops(): Record<number, number> {
    return Object.fromEntries(
      Array.from({ length: 96 }, (_, i) => [i, this.sw.datapath.drops(i)]).filter(([, n]) => n > 0),
    )
  }
}

/** An ICMP or ICMPv6 message, checksum right: `rest` is its second word (of an echo: id << 16 | sequence). */
export function icmp(type: number, code: number, rest: number, data: Uint8Array, o: IpText): Uint8Array {
  const v6 = (o.src ?? '').includes(':')
  const m = new Uint8Array(8 + data.length)
  const d = new DataView(m.buffer)
  d.setUint8(0, type)
  d.setUint8(1, code)
  d.setUint32(4, rest)
  m.set(data, 8)
  const f = ipFrame(v6 ? 58 : 1, m, o)
  const at = f.length - m.length
  const view = new DataView(f.buffer)
  const start = v6 ? pseudoSum(view, Eth.LEN, true, 58, m.length) : 0
  view.setUint16(at + 2, complement(start + sum(view, at, m.length)))
  return f
}

/** The IP packet of a frame, or its first bytes. */
export const packetOf = (frame: Uint8Array, bytes = frame.length): Uint8Array =>
  frame.slice(Eth.LEN, Math.min(frame.length, Eth.LEN + bytes))
