// A whole switch as messages, and a switch from messages: what the journal's snapshot and its tail are made of.
//
//   snapshot   devices, addresses, routes, neighbours (net/snapshot.ts), then qdiscs … filters (flow/snapshot.ts); of devices
//              that are gone and that rules still name, something in their place before, which goes behind
//   tail       requests, as they were done
//
// Not kept: what packets counted, when a rule was installed and last used, connections, held packets, and how far a
// neighbour's proof had got. A record that is refused when it is done again is an error with its place: the table would
// not be the one that was acknowledged. Control, one thread, before anybody else works on the switch.

import { exactKeyOf } from '../flow/dump_request.ts'
import { beginRestore, endRestore } from '../flow/exact_key.ts'
import { flowSnapshot, goneDevices, restoreChain } from '../flow/snapshot.ts'
import { NetRestore, netSnapshot, type PortBirth, removal } from '../net/snapshot.ts'
import { attrBytes, msgFlags, msgType, NLM_F_NONREC, NLMSG_ERROR, parseError, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import { RTM_DELACTION } from '../wire/tca_action.ts'
import { RTM_DELCHAIN, RTM_NEWTFILTER } from '../wire/tcm.ts'
import { type Control, request } from './control.ts'

/** The messages that make the switch as it is anew. `ports`: what its ports were made with. */
export function* switchSnapshot(c: Control, ports: readonly PortBirth[]): Generator<Uint8Array, void> {
  const gone = goneDevices(c.flow)
  yield* netSnapshot(c.net, ports, gone)
  yield* flowSnapshot(c.flow)
  for (const ifindex of gone) yield removal(ifindex)
}

/** A switch that was just made takes in a snapshot, then the requests behind it. */
export class SwitchRestore {
  readonly #c: Control
  readonly #net: NetRestore

  constructor(c: Control) {
    this.#c = c
    this.#net = new NetRestore(c.net.a, (message) => this.#do(message))
  }

  /** One message. Throws NetlinkError when it is refused. */
  take(message: Uint8Array, part: 'snapshot' | 'tail'): void {
    const d = viewOf(message)
    if (part === 'tail') {
      this.#net.settle()
      this.#do(message)
      return
    }
    const exact = msgType(d) === RTM_NEWTFILTER ? exactKeyOf(message) : 0
    beginRestore(exact === 0 ? null : attrBytes(d, exact))
    try {
      if (msgType(d) === RTM_DELCHAIN && msgFlags(d) & NLM_F_NONREC) restoreChain(this.#c.flow, d)
      else this.#net.take(message)
    } finally {
      endRestore()
    }
  }

  /** All was taken. */
  end(): void {
    this.#net.end()
  }

  #do(message: Uint8Array): void {
    const type = msgType(viewOf(message))
    for (const reply of request(this.#c, message)) {
      if (msgType(viewOf(reply)) !== NLMSG_ERROR) continue
      const { errno, message: why, offset } = parseError(reply)
      // Of several actions the first ones may have gone before one was refused: that was done again just now.
      if (errno !== 0 && type !== RTM_DELACTION) throw new NetlinkError(Math.abs(errno), why ?? '', offset)
    }
  }
}
