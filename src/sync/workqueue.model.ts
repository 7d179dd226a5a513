// No event is lost and no work runs twice at once: posters change a value and post, the work copies the value.
import type { Scenario } from '../testing/scenario.ts'
import { add, cas, load, store } from './atomic.ts'
import * as Work from './workqueue.ts'

const Q = 1
const W = Q + Work.QUEUE_WORDS
const W2 = W + Work.WORK_WORDS
const VALUE = W2 + Work.WORK_WORDS
const COPY = VALUE + 1
const POSTERS_DONE = VALUE + 2
const ORDER = VALUE + 3

const setup = (m: Int32Array): void => {
  Work.initQueue(m, Q)
  Work.initWork(m, W, Q, 1, VALUE)
  Work.initWork(m, W2, Q, 2, VALUE)
}

const event = (m: Int32Array): void => {
  add(m, VALUE, 1)
  Work.post(m, W)
  add(m, POSTERS_DONE, 1)
  Work.nudge(m, Q)
}

/** Runs until both posters are done and nothing is pending. */
const runner =
  (run: (m: Int32Array) => void) =>
  (m: Int32Array): void => {
    for (;;) {
      const seen = Work.bell(m, Q)
      const done = load(m, POSTERS_DONE) === 2
      run(m)
      if (done) return
      Work.sleep(m, Q, seen, 1000)
    }
  }

const copied = (m: Int32Array): string | undefined =>
  m[COPY] === 2 ? (Work.isPending(m, W) ? 'still pending' : undefined) : `copy is ${m[COPY]}, value is ${m[VALUE]}`

const copy = (m: Int32Array): void => {
  store(m, COPY, load(m, VALUE))
}

export const good: Scenario = {
  words: 256,
  setup,
  threads: [event, event, runner((m) => void Work.run(m, Q, 0, () => copy(m)))],
  check: copied,
}

/** The twin's work is pending until its function has returned: an event that comes meanwhile is lost. */
const badRun = (m: Int32Array): void => {
  if (load(m, W) === 0) return
  copy(m)
  store(m, W, 0)
}
export const badPending: Scenario = {
  words: 256,
  setup,
  threads: [
    (m) => {
      add(m, VALUE, 1)
      cas(m, W, 0, 1)
      add(m, POSTERS_DONE, 1)
      Work.nudge(m, Q)
    },
    (m) => {
      add(m, VALUE, 1)
      cas(m, W, 0, 1)
      add(m, POSTERS_DONE, 1)
      Work.nudge(m, Q)
    },
    runner(badRun),
  ],
  check: copied,
}

/** One poster's works keep their order, whatever another posts. */
export const goodOrder: Scenario = {
  words: 256,
  setup,
  threads: [
    (m) => {
      Work.post(m, W)
      Work.post(m, W2)
    },
    (m) => {
      for (let i = 0; i < 3; i++) {
        Work.run(m, Q, 0, (f) => {
          m[ORDER] = m[ORDER] * 10 + f
        })
      }
    },
  ],
  check: (m) => ([0, 1, 12].includes(m[ORDER]) ? undefined : `order ${m[ORDER]}`),
}

/** The twin runs the newest post first. */
export const badOrder: Scenario = {
  ...goodOrder,
  threads: [
    goodOrder.threads[0],
    (m) => {
      for (let i = 0; i < 3; i++) {
        const w = load(m, Q)
        if (w !== 0 && cas(m, Q, w, m[w + 1])) m[ORDER] = m[ORDER] * 10 + m[w + 3]
      }
    },
  ],
}
