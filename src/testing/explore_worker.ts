// A thread of a scenario, one step at a time: the explorer's hand inside the worker.
//
// The hook in sync/atomic.ts is called before every atomic operation. It spends one step of the budget; with none left
// it hands the turn back and sleeps until it is given more. A futex wait never sleeps for real: the thread is marked
// ASLEEP, and the scenario's wake marks it READY again.
import * as Atomic from '../sync/atomic.ts'
import { forgetHeld, held } from '../sync/mutex.ts'
import { onParentMessage, postParent, self } from '../sync/thread.ts'
import * as Control from './explore_control.ts'
import type { Scenario } from './scenario.ts'

/** Thrown by the hook to end a thread in the middle of what it does. */
const killed = Symbol('killed')

async function serve(job: Control.Job): Promise<void> {
  const { ctl, log, text, thread: me, memory } = job
  const scenario = ((await import(job.url)) as Record<string, Scenario<unknown>>)[job.name]
  const isSupervisor = me === scenario.threads.length

  const handOver = (state: number): void => {
    Atomic.onAtomic(undefined)
    ctl[Control.STATE + me] = state
    const turn = Atomic.load(ctl, Control.TURN + me)
    Atomic.add(ctl, Control.SEQ, 1)
    Atomic.wake(ctl, Control.SEQ)
    while (Atomic.load(ctl, Control.TURN + me) === turn) Atomic.wait(ctl, Control.TURN + me, turn)
    Atomic.onAtomic(hook)
  }
  const step = (): void => {
    if (ctl[Control.KILL + me] === 0 && ctl[Control.BUDGET + me] === 0) handOver(Control.READY)
    if (ctl[Control.KILL + me] !== 0) throw killed
    const n = ctl[Control.STEPS]++
    if (n >= ctl[Control.STEPS_MAX]) throw new Error(`no end after ${n} steps`)
    ctl[Control.STATE + me] = Control.READY
    log[n] = Control.logEntry(me, false, Control.readyMask(ctl))
    ctl[Control.BUDGET + me]--
  }
  const hook: Atomic.Hook = {
    step,
    wait(m, i, value, ms) {
      step()
      if (m[i] !== value) return true // nobody else runs: a plain read will do
      ctl[Control.SLEEPS_ON + me] = i
      ctl[Control.TIMED + me] = ms === Number.POSITIVE_INFINITY ? 0 : 1
      handOver(Control.ASLEEP)
      step()
      return ctl[Control.TIMED + me] !== 2
    },
    wake(_m, i, count) {
      step()
      let n = 0
      for (let t = 0; t < Control.THREADS_MAX && n < count; t++) {
        if (ctl[Control.STATE + t] !== Control.ASLEEP || ctl[Control.SLEEPS_ON + t] !== i) continue
        ctl[Control.STATE + t] = Control.READY
        n++
      }
      return n
    },
  }
  const fail = (e: unknown): void => {
    const bytes = new TextEncoder().encode(e instanceof Error ? (e.stack ?? e.message) : String(e))
    const n = Math.min(bytes.length, Control.TEXT_BYTES)
    text.set(bytes.subarray(0, n), me * Control.TEXT_BYTES)
    ctl[Control.TEXT_LENGTH + me] = n
  }

  ctl[Control.SELF + me] = self
  const context = scenario.enter === undefined ? new Int32Array(memory.buffer) : scenario.enter(memory)
  postParent('entered')
  handOver(Control.IDLE)
  while (ctl[Control.KILL + me] !== Control.KILL_QUIT) {
    let state = Control.DONE
    try {
      step()
      if (isSupervisor) scenario.supervisor?.(context, ctl[Control.DEAD_SELF])
      else scenario.threads[me](context)
      if (held() !== '') throw new Error(`ended holding ${held()}`)
    } catch (e) {
      if (e === killed) state = Control.DEAD
      else {
        state = Control.FAILED
        fail(e)
      }
    }
    forgetHeld()
    handOver(state)
  }
  Atomic.onAtomic(undefined)
}

onParentMessage((job) => {
  serve(job as Control.Job).then(
    () => postParent('served'),
    (e) => postParent(`failed: ${(e as Error).stack}`),
  )
})
