// Bodies for threads.test.ts: each runs on a real thread.
import { add, load, store, wait, wake } from '../sync/atomic.ts'
import { CHAIN, PRIO } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import * as Rcu from '../sync/rcu.ts'
import { attachArena, rcuOf } from './arena.ts'
import { counterAlloc, counterFree } from './counters.ts'
import { alloc, free, freeRcu, reclaim } from './pool.ts'
import { driveWorker, readerOf } from './thread_record.ts'
import { leave } from './threads.ts'

interface Data {
  readonly memory: WebAssembly.Memory
  readonly word: number
  readonly rounds: number
}

/** Adds under a lock, and churns the pool: every object carries its owner's mark for as long as it is held. */
export function churn({ memory, word, rounds }: Data, index: number): number {
  const a = attachArena(memory)
  const { m } = a
  const held: number[] = []
  const sizes = [32, 64, 192, 448, 1088]
  for (let i = 0; i < rounds; i++) {
    lock(m, word, CHAIN)
    m[word + 1]++
    unlock(m, word, CHAIN)
    const size = sizes[i % sizes.length]
    const p = alloc(a, size)
    for (let k = 0; k < size >> 2; k++) {
      if (m[(p >> 2) + k] !== 0) throw new Error(`word ${k} of a new object is ${m[(p >> 2) + k]}`)
    }
    m.fill(index + 1, p >> 2, (p + size) >> 2)
    held.push(p)
    if (held.length < 40) continue
    const old = held.shift()!
    const oldSize = sizes[(i - held.length) % sizes.length]
    for (let k = 0; k < oldSize >> 2; k++) {
      if (m[(old >> 2) + k] !== index + 1) throw new Error('somebody wrote to an object of mine')
    }
    if (i % 3 === 0) free(a, old, oldSize)
    else freeRcu(a, old, oldSize)
    if (i % 7 === 0) counterFree(a, counterAlloc(a))
  }
  for (let k = 0; k < held.length; k++) free(a, held[k], sizes[(rounds - held.length + k) % sizes.length])
  reclaim(a)
  leave(a)
  return rounds
}

/** m[word] points to an object of equal numbers; one thread replaces it again and again, the others read. */
export function replaceAndRead({ memory, word, rounds }: Data, index: number): number {
  const a = attachArena(memory)
  const { m } = a
  const SIZE = 192
  if (index === 0) {
    for (let up = load(m, word + 2); up < 2; up = load(m, word + 2)) wait(m, word + 2, up)
    for (let n = 1; n <= rounds; n++) {
      const p = alloc(a, SIZE)
      m.fill(n, p >> 2, (p + SIZE) >> 2)
      const old = m[word]
      Rcu.publish(m, word, p)
      freeRcu(a, old, SIZE)
      if (n % 16 === 0) reclaim(a)
    }
    store(m, word + 1, 1)
    leave(a)
    return rounds
  }
  let reads = 0
  add(m, word + 2, 1)
  wake(m, word + 2)
  Rcu.online(m, rcuOf(a), readerOf(a))
  while (load(m, word + 1) === 0) {
    for (let burst = 0; burst < 32; burst++) {
      const p = Rcu.deref(m, word) >> 2
      const n = m[p]
      for (let k = 1; k < SIZE >> 2; k++) if (m[p + k] !== n) throw new Error(`read ${m[p + k]} in an object of ${n}`)
      reads++
    }
    Rcu.quiescent(m, rcuOf(a), readerOf(a))
  }
  Rcu.offline(m, rcuOf(a), readerOf(a))
  leave(a)
  return reads
}

/** Takes two locks, is online as worker and as control, frees for later, and says so; then waits to be killed. */
export function dieHolding({ memory, word }: Data): never {
  const a = attachArena(memory)
  const { m } = a
  driveWorker(a, 0)
  Rcu.online(m, rcuOf(a), 0)
  Rcu.online(m, rcuOf(a), readerOf(a))
  lock(m, word, CHAIN)
  lock(m, word + 1, PRIO)
  for (let i = 0; i < 100; i++) freeRcu(a, alloc(a, 64), 64)
  store(m, word + 2, 1)
  wake(m, word + 2)
  for (;;) wait(m, word + 3, 0)
}
