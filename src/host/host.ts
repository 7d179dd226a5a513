// The small host behind the ports: what the kernel's own stack does with packets that no filter took, and with those
// that the datapath cannot send by itself. The datapath punts them, one by one; what the host makes of them (answers,
// encapsulated packets, datagrams put together) goes back through the datapath, which emits it.
//
//   PUNT_LOCAL    ARP arp.ts · IPv4 ip_input.ts · IPv6 ip6_input.ts, ndisc.ts    (fragments: reassembly.ts)
//   PUNT_TUNNEL   tunnel_output.ts ─> ip_output.ts ─> neighbour.ts, which asks and lets wait
//   PUNT_MTU      tunnel_output.ts ─> fragments
//   PUNT_CT_FRAGMENT, PUNT_CT_REFRAGMENT   ct_fragment.ts
//   PUNT_INNER_MTU  tunnel_error.ts ─> ICMP to the inner packet's source
//   PUNT_TRAP     for a control plane that there is not: dropped by name
//
// The world is that of a Linux host with IP forwarding off, rp_filter off, no sockets but the tunnels', echo requests
// not answered, router advertisements not listened to. Time is the clock that the owner gave; timers run in `advance`.
// One thread, the owner of a datapath worker. Nothing here throws for what a packet says.

import { encapUsed } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { DROP_NO_PROTOCOL, DROP_TRAP } from '../memory/layout/drop.ts'
import { PKT_DATA } from '../memory/layout/packet.ts'
import {
  PUNT_CT_FRAGMENT,
  PUNT_CT_REFRAGMENT,
  PUNT_INNER_MTU,
  PUNT_LOCAL,
  PUNT_MTU,
  PUNT_SAMPLE,
  PUNT_TUNNEL,
} from '../memory/layout/worker.ts'
import * as Eth from '../wire/ethernet.ts'
import { arpInput } from './arp.ts'
import { ctFragment, ctRefragment } from './ct_fragment.ts'
import { ipv4Input } from './ip_input.ts'
import { ipv6Input } from './ip6_input.ts'
import { lookAtHeld, nextNeighbourTimer, runNeighbourTimers, watchNeighbours } from './neighbour.ts'
import { nextFragmentTimer, runFragmentTimers } from './reassembly.ts'
import { type HostDatapath, type HostState, newState } from './state.ts'
import { innerTooBig } from './tunnel_error.ts'
import { tunnelOutput, tunnelTooBig } from './tunnel_output.ts'

export class Host {
  readonly state: HostState

  /** `clock`: nanoseconds of the switch's clock. */
  constructor(a: Arena, dp: HostDatapath, clock: () => number) {
    this.state = newState(a, dp, clock)
    watchNeighbours(this.state)
  }

  /** Takes a punted packet: `kind` PUNT_*, `dev` and `arg` as in the emission. */
  punt(kind: number, pkt: number, dev: number, arg: number): void {
    const h = this.state
    if (kind === PUNT_TUNNEL) {
      tunnelOutput(h, pkt, dev)
      encapUsed(h.a, arg) // a stale next hop has begun its delay: the entry's header may be used again
    } else if (kind === PUNT_MTU) tunnelTooBig(h, pkt, dev, arg)
    else if (kind === PUNT_LOCAL) localInput(h, pkt, dev)
    else if (kind === PUNT_INNER_MTU) innerTooBig(h, pkt, arg)
    else if (kind === PUNT_SAMPLE) h.dp.release(pkt)
    else if (kind === PUNT_CT_FRAGMENT) ctFragment(h, pkt, dev, arg)
    else if (kind === PUNT_CT_REFRAGMENT) ctRefragment(h, pkt, dev)
    else h.dp.drop(pkt, DROP_TRAP)
  }

  /** Runs what is due now: timers of neighbours and of datagrams in pieces. */
  advance(): void {
    runNeighbourTimers(this.state)
    runFragmentTimers(this.state)
  }

  /** Looks at what other threads have made possible: for an owner who is not alone. */
  look(): void {
    lookAtHeld(this.state)
  }

  /** When `advance` is next wanted: nanoseconds, Infinity when nothing waits. */
  nextTimer(): number {
    return Math.min(nextNeighbourTimer(this.state), nextFragmentTimer(this.state)) * 1e6
  }

  /** Packets that wait for a neighbour, and datagrams that wait for pieces. */
  waiting(): { packets: number; datagrams: number } {
    let packets = 0
    for (const held of this.state.held.values()) packets += held.frames.length
    return { packets, datagrams: this.state.fragments.size }
  }
}

function localInput(h: HostState, pkt: number, dev: number): void {
  const type = Eth.type(h.a.d, h.a.m[(pkt + PKT_DATA) >> 2])
  if (type === Eth.ETH_P_ARP) arpInput(h, pkt, dev)
  else if (type === Eth.ETH_P_IP) ipv4Input(h, pkt, dev)
  else if (type === Eth.ETH_P_IPV6) ipv6Input(h, pkt, dev)
  else h.dp.drop(pkt, DROP_NO_PROTOCOL)
}
