// A schedule: which thread makes which step, what that cost, which one comes next, and how it is written.
//
// The trace of a run is a list of log entries (explore_control.ts): who made each step, and who else could have. The
// next schedule, depth first, is the longest beginning of the trace that has an alternative within the bounds, with that
// alternative behind it.
import * as Control from './explore_control.ts'

/** Same thread, no death: steps that can be given as one budget. */
export const same = (x: number, y: number): boolean => (x & 15) === (y & 15)

const isIn = (mask: number, t: number): boolean => t >= 0 && (mask & (1 << t)) !== 0

/** Who goes on when nobody is preempted. */
export const defaultChoice = (last: number, ready: number): number =>
  isIn(ready, last) ? last : 31 - Math.clz32(ready & -ready)

export interface Spent {
  readonly preempted: number
  readonly killed: number
  /** Who made the step before; -1 before the first, for who begins is nobody's preemption. */
  readonly last: number
}

/** What was spent before each step, and at the end. */
export function spending(trace: Int32Array): Spent[] {
  const spent: Spent[] = [{ preempted: 0, killed: 0, last: -1 }]
  for (const e of trace) {
    const { preempted, killed, last } = spent[spent.length - 1]
    const t = Control.logThread(e)
    const died = Control.logDied(e)
    const preempts = !died && t !== last && isIn(Control.logReady(e), last)
    spent.push({ preempted: preempted + (preempts ? 1 : 0), killed: killed + (died ? 1 : 0), last: t })
  }
  return spent
}

/**
 * Depth first: the last step of the trace that has an untried alternative within the bounds takes it. The alternatives
 * of a step are, in this order: the default, the other ready threads, the death of the default.
 */
export function nextPrefix(
  trace: Int32Array,
  spent: Spent[],
  preemptions: number,
  kills: number,
  mortal: number,
): number[] | undefined {
  for (let k = trace.length - 1; k >= 0; k--) {
    const before = spent[k]
    const ready = Control.logReady(trace[k])
    const running = isIn(ready, before.last)
    const first = defaultChoice(before.last, ready)
    const order = [first]
    if (!running || before.preempted < preemptions) {
      for (let t = 0; t < Control.THREADS_MAX; t++) if (t !== first && (ready & (1 << t)) !== 0) order.push(t)
    }
    if (before.killed < kills && isIn(mortal, first)) order.push(first | 8)
    const next = order[order.indexOf(trace[k] & 15) + 1]
    if (next !== undefined) return [...trace.slice(0, k), (next & 15) | (ready << 4)]
  }
  return undefined
}

/** The schedule as text: see above. */
export function print(trace: Int32Array): string {
  const parts: string[] = []
  for (let k = 0; k < trace.length; ) {
    let count = 1
    while (k + count < trace.length && same(trace[k + count], trace[k])) count++
    const died = Control.logDied(trace[k])
    parts.push(died ? `${Control.logThread(trace[k])}!` : `${Control.logThread(trace[k])}*${count}`)
    k += died ? 1 : count
  }
  return parts.join(' ')
}

export function parse(schedule: string): number[] {
  return schedule.split(' ').flatMap((part) => {
    const found = /^(\d)(?:!|\*(\d+))$/.exec(part)
    if (found === null) throw new Error(`schedule: ${part} is not thread*steps or thread!`)
    const died = part.endsWith('!')
    return new Array<number>(died ? 1 : Number(found[2])).fill(Control.logEntry(Number(found[1]), died, 0))
  })
}
