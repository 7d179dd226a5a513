// What a thread tells encap/ once: how to switch a flow and let it go, and what time it is.
//
// The domain is circular (an entry wakes its flows, a flow holds its entries). It is cut here, as the kernel cuts it: an
// encap entry keeps flow addresses on a list whose items are its own, and calls the functions that flow/ gave. Functions
// cannot be shared, so each thread that adds flows or runs the event worker says them for itself.

import type { Arena } from '../memory/arena.ts'

export interface FlowOps {
  /** Publishes the fast program (FLOW_ACTIONS := FLOW_FAST), by one atomic store. Under encap_tbl; cannot fail. */
  fast(a: Arena, flow: number): void
  /** Publishes the slow program. */
  slow(a: Arena, flow: number): void
  /** Gives a reference back; the last one tears the flow down, detach included. No lock held. */
  put(a: Arena, flow: number): void
}

export interface Hooks {
  readonly flows: FlowOps
  /** The switch's clock, milliseconds: stamps of state changes, times of works. */
  now(): number
}

const hooks = new WeakMap<WebAssembly.Memory, Hooks>()

export const setHooks = (a: Arena, h: Hooks): void => {
  hooks.set(a.memory, h)
}

/** This thread's. Throws when it never said them. */
export function hooksOf(a: Arena): Hooks {
  const h = hooks.get(a.memory)
  if (h === undefined) throw new Error('encap: openEncap was not called on this thread')
  return h
}
