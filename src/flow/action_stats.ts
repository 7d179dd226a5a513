// What an action counted, and for whom.
//
// A packet counts once for its flow; an action that every packet of the flow reaches needs no counter of its own: its
// packets, bytes and times are the flow's. Its drops and overlimits are the flow's counter's too when it is the only
// action of the list that has any. So the common flow has one counter and one OP_COUNT. What a flow's counter cannot say
// (actions behind one that may divert or drop packets) goes to the action's own counter, ACT_COUNTER.
//
//   stats(action) = own + base + sum over the uses by flows that are there
//
// A use is (flow, USER_F_*), noted when the filter is made and never changed, so that an action shared by several
// filters (by its index) sums their counters and no program needs to be made anew. When a flow goes, what it counted
// for an action that stays is added to the action's base. All under the lock of the action's kind.

import { forkOf } from '../action/ways.ts'
import type { Arena } from '../memory/arena.ts'
import { type Counter, counterAlloc, counterRead } from '../memory/counters.ts'
import {
  ACT_BASE,
  ACT_CONTROL,
  ACT_COUNTER,
  ACT_KIND,
  ACT_USERS,
  TC_ACT_SHOT,
  USER_F_DROPS,
  USER_F_PACKETS,
  USER_FLAGS,
  USER_FLOW,
  USER_LIST,
  USER_NEXT,
  USER_SIZE,
} from '../memory/layout/action.ts'
import { FLOW_COUNTER } from '../memory/layout/flow.ts'
import { SUPER_WORKER } from '../memory/layout/super.ts'
import {
  COUNTER_BYTES,
  COUNTER_DROPS,
  COUNTER_FIRST_USED,
  COUNTER_LAST_USED,
  COUNTER_OVERLIMITS,
  COUNTER_PACKETS,
  COUNTER_SIZE,
  WORKER_COUNTERS,
} from '../memory/layout/worker.ts'
import { alloc, free, TAG_USER } from '../memory/pool.ts'
import { cas, load } from '../sync/atomic.ts'
import { TCA_ID_CSUM, TCA_ID_GACT, TCA_ID_NAT, TCA_ID_SKBMOD } from '../wire/tca_action.ts'
import { lockKind, unlockKind } from './action_table.ts'

/** Calls `each` with the flow and the USER_F_* of every use. Holding the kind's lock. */
export function forEachUserLocked(m: Int32Array, act: number, each: (flow: number, flags: number) => void): void {
  const users = m[(act + ACT_USERS) >> 2]
  if (users === 0) return
  if ((users & USER_LIST) === 0) {
    each(users & ~USER_FLAGS, users & USER_FLAGS)
    return
  }
  for (let u = users & ~USER_FLAGS; u !== 0; u = m[(u + USER_NEXT) >> 2]) {
    const use = m[(u + USER_FLOW) >> 2]
    each(use & ~USER_FLAGS, use & USER_FLAGS)
  }
}

/** Notes that the flow uses the action. The first use of an action needs no lock: it is one word. */
export function addUser(a: Arena, act: number, flow: number, flags: number): void {
  const { m } = a
  const word = (act + ACT_USERS) >> 2
  if (cas(m, word, 0, flow | flags)) return
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  try {
    while (!cas(m, word, 0, flow | flags)) {
      const users = load(m, word)
      if (users === 0) continue
      const tail = (users & USER_LIST) !== 0 ? users & ~USER_FLAGS : makeUser(a, users, 0)
      m[word] = makeUser(a, flow | flags, tail) | USER_LIST
      return
    }
  } finally {
    unlockKind(m, kind)
  }
}

function makeUser(a: Arena, use: number, next: number): number {
  const u = alloc(a, USER_SIZE, TAG_USER)
  a.m[(u + USER_FLOW) >> 2] = use
  a.m[(u + USER_NEXT) >> 2] = next
  return u
}

/** The opposite, once for each time it was noted. Keeps in the base what the flow counted for the action. */
export function removeUserLocked(a: Arena, act: number, flow: number, lastUse: boolean): void {
  const { m } = a
  const users = m[(act + ACT_USERS) >> 2]
  let flags = users & USER_FLAGS
  if ((users & USER_LIST) === 0) {
    if ((users & ~USER_FLAGS) !== flow) return
    m[(act + ACT_USERS) >> 2] = 0
  } else {
    let at = (act + ACT_USERS) >> 2
    let tag = USER_LIST
    for (;;) {
      const u = m[at] & ~USER_FLAGS
      if (u === 0) return
      if ((m[(u + USER_FLOW) >> 2] & ~USER_FLAGS) === flow) {
        flags = m[(u + USER_FLOW) >> 2] & USER_FLAGS
        const next = m[(u + USER_NEXT) >> 2]
        m[at] = next === 0 ? 0 : next | tag
        free(a, u, USER_SIZE, TAG_USER)
        break
      }
      at = (u + USER_NEXT) >> 2
      tag = 0
    }
  }
  if (!lastUse) keep(a, act, counterRead(a, m[(flow + FLOW_COUNTER) >> 2]), flags)
}

/** Adds what a use counted to the base. */
function keep(a: Arena, act: number, c: Counter, flags: number): void {
  const { m } = a
  let base = m[(act + ACT_BASE) >> 2]
  if (base === 0) {
    base = counterAlloc(a)
    m[(act + ACT_BASE) >> 2] = base
  }
  const sum = counterRead(a, base)
  addUse(sum, c, flags)
  const w = (m[(m[SUPER_WORKER >> 2] + WORKER_COUNTERS) >> 2] + base * COUNTER_SIZE) >> 2
  setU64(m, w + (COUNTER_PACKETS >> 2), sum.packets)
  setU64(m, w + (COUNTER_BYTES >> 2), sum.bytes)
  m[w + (COUNTER_DROPS >> 2)] = sum.drops
  m[w + (COUNTER_OVERLIMITS >> 2)] = sum.overlimits
  m[w + (COUNTER_LAST_USED >> 2)] = sum.lastUsed
  m[w + (COUNTER_FIRST_USED >> 2)] = sum.firstUsed
}

function setU64(m: Int32Array, w: number, v: number): void {
  m[w] = v >>> 0
  m[w + 1] = Math.floor(v / 0x100000000)
}

/** Adds the parts of a flow's counter that are the action's. */
function addUse(sum: Counter, c: Counter, flags: number): void {
  if ((flags & USER_F_PACKETS) !== 0) {
    sum.packets += c.packets
    sum.bytes += c.bytes
    sum.lastUsed = Math.max(sum.lastUsed, c.lastUsed)
    if (c.firstUsed !== 0 && (sum.firstUsed === 0 || c.firstUsed < sum.firstUsed)) sum.firstUsed = c.firstUsed
  }
  if ((flags & USER_F_DROPS) !== 0) {
    sum.drops += c.drops
    sum.overlimits += c.overlimits
  }
}

/** What the action has counted in all. Holding the kind's lock. */
export function actionStatsLocked(a: Arena, act: number): Counter {
  const { m } = a
  const sum = counterRead(a, m[(act + ACT_COUNTER) >> 2])
  const base = m[(act + ACT_BASE) >> 2]
  if (base !== 0) addUse(sum, counterRead(a, base), USER_F_PACKETS | USER_F_DROPS)
  let flags = 0
  forEachUserLocked(m, act, (flow, f) => {
    flags |= f
    if ((f & (USER_F_PACKETS | USER_F_DROPS)) !== 0) addUse(sum, counterRead(a, m[(flow + FLOW_COUNTER) >> 2]), f)
  })
  // A plain `drop` has no op that counts what it drops: it is every packet (tcf_gact_act, tcf_csum_act, tcf_nat_act);
  // tcf_skbmod_act counts overlimits instead, the other kinds nothing.
  if (m[(act + ACT_CONTROL) >> 2] !== TC_ACT_SHOT || (flags & USER_F_DROPS) !== 0) return sum
  if (forkOf(m, act) !== undefined) return sum
  const kind = m[(act + ACT_KIND) >> 2]
  const drops = kind === TCA_ID_GACT || kind === TCA_ID_CSUM || kind === TCA_ID_NAT
  if (drops && sum.drops === 0) sum.drops = sum.packets
  if (kind === TCA_ID_SKBMOD && sum.overlimits === 0) sum.overlimits = sum.packets
  return sum
}
