// What a thread that died in the middle of a change left in flow/, as far as others would wait for it.
//
// Its locks are freed by memory/threads.ts. An action whose parameters it was replacing is in the middle of a change
// (ACT_GENERATION odd): whoever makes a filter with it would make it anew for ever. The action keeps what it has.

import { actionKinds } from '../action/index.ts'
import type { Arena } from '../memory/arena.ts'
import { ACT_GENERATION, ACT_INDEX } from '../memory/layout/action.ts'
import { add, load } from '../sync/atomic.ts'
import { lockKind, nextActionLocked, unlockKind } from './action_table.ts'

/** Supervisor, after recoverDead. */
export function flowRecover(a: Arena): void {
  const { m } = a
  for (const { id } of actionKinds) {
    lockKind(m, id)
    for (let act = nextActionLocked(m, id, 1); act !== 0; act = nextActionLocked(m, id, indexAfter(m, act)))
      if ((load(m, (act + ACT_GENERATION) >> 2) & 1) !== 0) add(m, (act + ACT_GENERATION) >> 2, 1)
    unlockKind(m, id)
  }
}

const indexAfter = (m: Int32Array, act: number): number => (m[(act + ACT_INDEX) >> 2] >>> 0) + 1
