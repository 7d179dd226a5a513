// Threads come, go and die: what happens to a thread's record, and to what it held, when it is no more.
//
// `leave` is the thread's own last act. `recoverDead` is done for it by whoever noticed its death (sync/thread.ts
// `ended`), once, when the thread can run no more:
//
//   1 mark it dead            who waits for one of its locks knows
//   2 its locks, innermost first: `repair(class, word)` may mend what the lock protects, then the lock is freed
//   3 the work it was posting is posted for it
//   4 its RCU readers go offline, those of the datapath workers it drove too: no grace period waits for them
//   5 its bag of deferred frees is queued and its magazines go back to the shared lists
//   6 the record is free for another thread
//
// What it had allocated and linked nowhere yet is lost: the leak report shows it. Lists of this folder and of sync/ are
// changed by single stores, so they need no repair.
import { load, store } from '../sync/atomic.ts'
import { type LockClass, lockClasses } from '../sync/lock_order.ts'
import { recoverLock } from '../sync/mutex.ts'
import * as Rcu from '../sync/rcu.ts'
import { ENDING, POSTING } from '../sync/supervise.ts'
import { recoverPost } from '../sync/workqueue.ts'
import { type Arena, rcuOf } from './arena.ts'
import { closeBag } from './deferred.ts'
import * as Super from './layout/super.ts'
import { emptyMagazines } from './magazine.ts'
import * as Thread from './thread_record.ts'

/** What was found and mended. */
export interface Recovery {
  /** Names of the classes of the locks that were freed. */
  readonly locks: string[]
}

/** This thread's last act on the arena: it holds no lock and no RCU pointer. */
export function leave(a: Arena): void {
  giveBack(a, a.thread)
}

/** Mends what the dead thread `who` (its `self`) left. Nothing happens when it has no record. */
export function recoverDead(a: Arena, who: number, repair?: (c: LockClass, word: number) => void): Recovery {
  const { m } = a
  const locks: string[] = []
  const record = Thread.recordOf(a, who)
  if (record === 0) return { locks }
  store(m, (record + Thread.THREAD_STATE) >> 2, Thread.THREAD_DEAD)
  const supervised = (record + Thread.THREAD_SUPERVISED) >> 2
  for (const c of [...lockClasses].reverse()) {
    const word = load(m, supervised + c.rank)
    if (word === 0) continue
    if (repair !== undefined) repair(c, word)
    if (recoverLock(m, word, who)) locks.push(c.name)
    m[supervised + c.rank] = 0
  }
  const posting = load(m, supervised + POSTING)
  if (posting !== 0) recoverPost(m, posting, who)
  m[supervised + POSTING] = 0
  store(m, supervised + ENDING, 0)
  giveBack(a, record)
  return { locks }
}

function giveBack(a: Arena, record: number): void {
  const { m } = a
  const workers = m[Super.SUPER_WORKERS >> 2]
  for (let i = 0; i < workers; i++) {
    if ((m[(record + Thread.THREAD_WORKERS) >> 2] & (1 << i)) !== 0) Rcu.offline(m, rcuOf(a), i)
  }
  m[(record + Thread.THREAD_WORKERS) >> 2] = 0
  Rcu.offline(m, rcuOf(a), workers + Thread.slotOf(a, record))
  closeBag(a, record)
  emptyMagazines(a, record)
  store(m, (record + Thread.THREAD_SELF) >> 2, 0)
}
