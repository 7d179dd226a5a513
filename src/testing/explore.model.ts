// Scenarios for explore.test.ts.
import { add, load, store, wait } from '../sync/atomic.ts'
import { CHAIN } from '../sync/lock_order.ts'
import { lock } from '../sync/mutex.ts'
import type { Scenario } from './scenario.ts'

const N = 1
const twoSteps = (m: Int32Array): void => {
  store(m, N, load(m, N) + 1)
}
const atomic = (m: Int32Array): void => {
  add(m, N, 1)
  load(m, N)
}
const check = (m: Int32Array): string | undefined => (m[N] === 2 ? undefined : `counted to ${m[N]}`)

export const counted: Scenario = { words: 16, threads: [atomic, atomic], check }
export const lostUpdate: Scenario = { words: 16, threads: [twoSteps, twoSteps], check }

export const throws: Scenario = {
  words: 16,
  threads: [
    twoSteps,
    () => {
      throw new Error('deliberate')
    },
  ],
  check: () => undefined,
}
export const sleeps: Scenario = { words: 16, threads: [(m) => void wait(m, 5, 0, 1)], check: () => undefined }
export const loops: Scenario = {
  words: 16,
  threads: [
    (m) => {
      while (load(m, 5) === 0);
    },
  ],
  check: () => undefined,
}
export const keepsLock: Scenario = { words: 16, threads: [(m) => lock(m, 5, CHAIN)], check: () => undefined }

export const dies: Scenario = {
  words: 16,
  threads: [
    (m) => {
      store(m, 1, 1)
      store(m, 2, 1)
    },
    (m) => store(m, 3, 1),
  ],
  supervisor: (m, who) => store(m, 4, who),
  check: (m) => (m[1] + m[2] === 2 ? undefined : `${m[1] + m[2]} of 2${m[4] > 0 ? '' : ', and nobody knows'}`),
}

export const cannotEnter: Scenario<void> = {
  words: 16,
  enter() {
    throw new Error('deliberate')
  },
  threads: [() => {}, () => {}],
  check: () => undefined,
}

/** Nobody wakes it, but it looks around. */
export const looksAround: Scenario = {
  words: 16,
  timeouts: true,
  threads: [
    (m) => {
      while (load(m, 5) === 0) if (!wait(m, 6, 0, 1)) store(m, 7, 1)
    },
    (m) => store(m, 5, 1),
  ],
  check: () => undefined,
}
export const sleepsForGood: Scenario = { ...sleeps, timeouts: true, threads: [(m) => void wait(m, 5, 0)] }
