// rtnl for the requests of flow/: qdiscs, `tc actions`, and filters of the kinds that a kernel serialises.

import type { Arena } from '../memory/arena.ts'
import { rtnlWord } from '../net/request.ts'
import { RTNL } from '../sync/lock_order.ts'
import { isHeld, lock, unlock } from '../sync/mutex.ts'

/** Runs `f` holding rtnl. */
export function withRtnl<T>(a: Arena, f: () => T): T {
  if (isHeld(RTNL)) return f()
  lock(a.m, rtnlWord, RTNL)
  try {
    return f()
  } finally {
    unlock(a.m, rtnlWord, RTNL)
  }
}
