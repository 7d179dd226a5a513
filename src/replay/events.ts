// --events: the trace points of the scheme and the changes of state of flows, encaps and neighbours, a line each.
//
// The switch keeps them in a ring; replay drains it as it goes. Lines are text, or JSON documents when the file's name ends
// in .json or .jsonl. Like all results the file appears at the end, or not at all.
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { TraceReader, traceOpen } from '../encap/trace.ts'
import { traceEvent, traceJson, traceText } from '../encap/trace_points.ts'
import type { Arena } from '../memory/arena.ts'

export interface Events {
  /** Writes what happened since the last call. */
  drain(): void
  publish(): void
  discard(): void
}

/** Turns tracing on and makes the file. Before anything happens in the switch. */
export function openEvents(path: string, a: Arena): Events {
  const partial = `${path}.partial-${process.pid}`
  const fd = openSync(partial, 'w')
  let open = true
  const close = () => {
    if (open) closeSync(fd)
    open = false
  }
  traceOpen(a)
  const reader = new TraceReader(a)
  const line = /\.jsonl?$/.test(path) ? traceJson : traceText
  const drain = () => {
    const text = reader.read().map((r) => `${line(traceEvent(r))}\n`)
    if (text.length > 0) writeSync(fd, text.join(''))
  }
  return {
    drain,
    publish: () => {
      drain()
      close()
      renameSync(partial, path)
    },
    discard: () => {
      close()
      rmSync(partial, { force: true })
    },
  }
}
