// A thread begins to work on flows: it tells encap/ how flows are switched and put, and listens for devices that go.
//
//   once for an arena      netInit, encapInit, flowInit
//   on every such thread   openFlow

import { openEncap } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { netdevListen } from '../net/netdev.ts'
import { RTM_DELLINK } from '../wire/rtm_link.ts'
import { contextOf, type FlowContext, type FlowOptions, makeContext } from './context.ts'
import { flowOps } from './flow.ts'
import { dropQdisc } from './qdisc.ts'

const listening = new WeakSet<WebAssembly.Memory>()

/** A second call replaces clock and notifications. */
export function openFlow(a: Arena, o: Omit<FlowOptions, 'encap'>): FlowContext {
  const encap = openEncap(a, { flows: flowOps, now: o.now })
  if (!listening.has(a.memory)) {
    listening.add(a.memory)
    netdevListen(a, (_, event, dev) => {
      if (event === RTM_DELLINK) dropQdisc(contextOf(a), dev)
    })
  }
  return makeContext(a, { ...o, encap })
}
