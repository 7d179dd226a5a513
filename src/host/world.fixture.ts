// A small world for the tests of host/: ports with addresses, a real datapath, an external vxlan device, a clock that
// the test moves. What ports send comes out as frames; punts go to the host at once, as the switch does it. Tests only.

import { Datapath } from '../datapath/chip.ts'
import { dropName } from '../datapath/drop_reason.ts'
import { type Arena, createArena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import { DROP_MAX } from '../memory/layout/drop.ts'
import { PKT_TUN } from '../memory/layout/packet.ts'
import { EMIT_OUTPUT } from '../memory/layout/worker.ts'
import { alloc } from '../memory/pool.ts'
import { TAG_TUN_INFO } from '../memory/tags.ts'
import { addPort, linkUp, netInit } from '../net/link.ts'
import { netdevByName, netdevIfindex, netdevName, netdevRegister } from '../net/netdev.ts'
import { type NetContext, netRequest } from '../net/request.ts'
import { address16 } from '../testing/rtnl_messages.ts'
import { tunnelNamed, tunnelOf } from '../tunnel/index.ts'
import { Builder, NLMSG_HDRLEN, viewOf } from '../wire/netlink.ts'
import { IFLA_VXLAN_COLLECT_METADATA, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT } from '../wire/rtm_link.ts'
import { Host } from './host.ts'

export interface Sent {
  readonly port: string
  readonly frame: Uint8Array
  /** Milliseconds. */
  readonly at: number
}

export class World {
  readonly a: Arena
  readonly dp: Datapath
  readonly host: Host
  readonly net: NetContext
  /** Milliseconds. */
  now = 0
  readonly #sent: Sent[] = []

  constructor(ports = 3, frameSize = 2048) {
    this.a = createArena({ bytes: 128 << 20, counters: 4096, packets: 512, frameSize })
    netInit(this.a)
    for (let i = 0; i < ports; i++) addPort(this.a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i))
    this.dp = new Datapath(this.a, 0)
    this.net = { a: this.a, now: () => this.now, kinds: { named: tunnelNamed, of: tunnelOf } }
    this.host = new Host(this.a, this.dp, () => this.now * 1e6)
  }

  dev(name: string): number {
    return netdevByName(this.a, name)
  }
  index(name: string): number {
    return netdevIfindex(this.a, this.dev(name))
  }

  /** rtnetlink requests. */
  ask(...messages: Uint8Array[]): void {
    for (const m of messages) netRequest(this.net, m, () => {})
    this.#drain()
  }

  /** `ip link add NAME type vxlan external`, up, port 4789. */
  vxlan(name = 'vxlan0'): number {
    const type = tunnelNamed('vxlan')!
    const dev = netdevRegister(this.a, { name, kind: type.kind, mac: Uint8Array.of(2, 0xfb, 0, 0, 0, 1) })
    const b = new Builder()
    b.begin(0, 0)
    b.attrU8(IFLA_VXLAN_COLLECT_METADATA, 1)
    b.attrU8(IFLA_VXLAN_LEARNING, 0)
    b.attrBe16(IFLA_VXLAN_PORT, 4789)
    const data = b.end().slice(NLMSG_HDRLEN)
    type.newlink(this.a, dev, viewOf(data), 0, data.length, 0)
    linkUp(this.a, dev)
    return dev
  }

  /** A frame arrives; what the ports send because of it. */
  receive(port: string, frame: Uint8Array): Sent[] {
    this.#clock()
    const pkt = this.dp.alloc()
    this.dp.loadBytes(pkt, frame)
    this.dp.receive(pkt, this.dev(port))
    return this.#drain()
  }

  /** A frame goes into a tunnel device with a key. */
  tunnel(dev: string, frame: Uint8Array, key: { src?: string; dst: string; id?: number; csum?: boolean }): Sent[] {
    this.#clock()
    const tun = alloc(this.a, T.TUN_SIZE, TAG_TUN_INFO)
    const v6 = key.dst.includes(':')
    const { m, u8 } = this.a
    m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX | (v6 ? T.TUN_IPV6 : 0)
    m[(tun + T.TUN_FLAGS) >> 2] = T.TUNNEL_KEY | (key.csum ? T.TUNNEL_CSUM : 0)
    m[(tun + T.TUN_ID) >> 2] = key.id ?? 1
    if (key.src) u8.set(address16(key.src), tun + T.TUN_SRC)
    u8.set(address16(key.dst), tun + T.TUN_DST)
    const pkt = this.dp.alloc()
    this.dp.loadBytes(pkt, frame)
    m[(pkt + PKT_TUN) >> 2] = tun
    this.dp.transmit(pkt, this.dev(dev))
    return this.#drain()
  }

  /** Time passes up to `to` (milliseconds); timers run at their own times. What was sent meanwhile. */
  advance(to: number): Sent[] {
    const before = this.#sent.length
    for (let t = this.host.nextTimer() / 1e6; t <= to; t = this.host.nextTimer() / 1e6) {
      this.now = Math.max(t, this.now)
      this.#clock()
      this.host.advance()
      this.#drain()
    }
    this.now = to
    return this.#sent.slice(before)
  }

  /** Drops by name, those that are not zero. */
  drops(): Record<string, number> {
    const out: Record<string, number> = {}
    for (let r = 1; r < DROP_MAX; r++) if (this.dp.drops(r)) out[dropName(r)] = this.dp.drops(r)
    return out
  }

  #clock(): void {
    this.dp.setTime(this.now * 1e6)
  }

  #drain(): Sent[] {
    const before = this.#sent.length
    while (this.dp.emissionCount() > 0)
      for (const e of this.dp.takeEmissions()) {
        if (e.kind === EMIT_OUTPUT) {
          this.#sent.push({ port: netdevName(this.a, e.dev), frame: this.dp.frame(e.pkt).slice(), at: this.now })
          this.dp.release(e.pkt)
        } else {
          this.host.punt(e.kind, e.pkt, e.dev, e.arg)
        }
      }
    return this.#sent.slice(before)
  }
}
