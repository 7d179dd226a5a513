// Readers never see freed memory: HEAD points to a node that holds 42 until it is freed (-1).
import type { Scenario } from '../testing/scenario.ts'
import { store } from './atomic.ts'
import * as Rcu from './rcu.ts'

const R = 0
const HEAD = Rcu.size(2)
const NODE = HEAD + 1
const SEEN = HEAD + 2

const read = (m: Int32Array): void => {
  const p = Rcu.deref(m, HEAD)
  if (p !== 0 && Rcu.deref(m, p) !== 42) m[SEEN] = 1
}

const free = (m: Int32Array): void => store(m, NODE, -1)

/** Looks twice; what has not elapsed by then stays unfreed. */
const update = (m: Int32Array): void => {
  Rcu.publish(m, HEAD, 0)
  const s = Rcu.stamp(m, R)
  if (Rcu.elapsed(m, R, s) || Rcu.elapsed(m, R, s)) free(m)
}

const scenario = (reader: (m: Int32Array) => void, writer: (m: Int32Array) => void): Scenario => ({
  words: HEAD + 3,
  setup(m) {
    Rcu.init(m, R, 1)
    Rcu.online(m, R, 0)
    m[HEAD] = NODE
    m[NODE] = 42
  },
  threads: [reader, writer],
  check: (m) => (m[SEEN] !== 0 ? 'a reader saw freed memory' : undefined),
})

/** A datapath worker: quiescent after each burst. */
const worker = (m: Int32Array): void => {
  read(m)
  Rcu.quiescent(m, R, 0)
  read(m)
  Rcu.quiescent(m, R, 0)
}
/** A control thread: offline between requests. */
const control = (m: Int32Array): void => {
  Rcu.offline(m, R, 0)
  Rcu.online(m, R, 0)
  read(m)
  Rcu.offline(m, R, 0)
}
/** A thread that comes while a grace period runs. */
const newcomer = (m: Int32Array): void => {
  Rcu.admit(m, R, 1)
  Rcu.online(m, R, 1)
  read(m)
  Rcu.offline(m, R, 1)
}

export const good = scenario(worker, update)
export const goodOffline = scenario(control, update)
export const goodNewcomer: Scenario = { ...scenario(worker, update), threads: [worker, update, newcomer] }

/** The twin frees at once. */
export const badFree = scenario(worker, (m) => {
  Rcu.publish(m, HEAD, 0)
  free(m)
})
/** The twin takes its stamp before it unlinks. */
export const badStamp = scenario(worker, (m) => {
  const s = Rcu.stamp(m, R)
  if (!Rcu.elapsed(m, R, s) && !Rcu.elapsed(m, R, s)) return
  Rcu.publish(m, HEAD, 0)
  free(m)
})
/** The twin's reader keeps its pointer over a quiescent state. */
export const badReader: Scenario = {
  ...scenario((m) => {
    const p = Rcu.deref(m, HEAD)
    Rcu.quiescent(m, R, 0)
    if (p !== 0 && Rcu.deref(m, p) !== 42) m[SEEN] = 1
  }, update),
  preemptions: 3,
}
/** The twin's reader comes online after it has read. */
export const badOnline = scenario((m) => {
  Rcu.offline(m, R, 0)
  const p = Rcu.deref(m, HEAD)
  Rcu.online(m, R, 0)
  if (p !== 0 && Rcu.deref(m, p) !== 42) m[SEEN] = 1
}, update)
