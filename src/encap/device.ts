// The encap entry of a classic tunnel device: NETDEV_ENCAP, for packets that reach the device without a tunnel key.
//
// A device with a remote of its own is an encap destination of its own. Its entry is as any other, registered on the same
// route and neigh hash entries and moved by the same events, but in no hash table (its key is the device) and with no
// flows: what packets find is ENCAP_HEADER or, while that is 0, the slow path. Under rtnl, from the listener of net/netdev.ts.

import type { Arena } from '../memory/arena.ts'
import { ENCAP_SIZE } from '../memory/layout/encap.ts'
import { NETDEV_ENCAP, NETDEV_TUN } from '../memory/layout/netdev.ts'
import { insert } from '../memory/list.ts'
import { alloc, TAG_ENCAP } from '../memory/pool.ts'
import { complete } from '../sync/completion.ts'
import { publish } from '../sync/rcu.ts'
import { initLocked } from './attach.ts'
import { ENTRY_F_DEVICE, ENTRY_FLAGS, ENTRY_LINK, ENTRY_RES_READY } from './encap_entry.ts'
import { encapPut } from './encap_put.ts'
import { lockEncaps, ROOT_ENTRIES, rootOf, unlockEncaps } from './root.ts'
import { settleLocked } from './settle.ts'

/** Gives a classic device its entry; nothing for an external one, or when it has one. Throws MemoryError. */
export function attachDevice(a: Arena, dev: number): void {
  const { m } = a
  const tun = m[(dev + NETDEV_TUN) >> 2]
  if (tun === 0 || m[(dev + NETDEV_ENCAP) >> 2] !== 0) return
  const e = alloc(a, ENCAP_SIZE, TAG_ENCAP)
  lockEncaps(a)
  initLocked(a, e, tun, dev)
  m[(e + ENTRY_FLAGS) >> 2] = ENTRY_F_DEVICE
  insert(a, rootOf(a) + ROOT_ENTRIES, e, ENTRY_LINK)
  settleLocked(a, e, [])
  complete(m, (e + ENTRY_RES_READY) >> 2, 1)
  unlockEncaps(a)
  publish(m, (dev + NETDEV_ENCAP) >> 2, e)
}

/** The device goes: packets find no entry any more, and it is freed after a grace period. */
export function detachDevice(a: Arena, dev: number): void {
  const e = a.m[(dev + NETDEV_ENCAP) >> 2]
  if (e === 0) return
  publish(a.m, (dev + NETDEV_ENCAP) >> 2, 0)
  encapPut(a, e)
}
