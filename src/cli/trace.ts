// flowerbed trace: a scenario in, and each packet's way through the switch out, as text or as one JSON document.

import { traceText } from '../trace/text.ts'
import { type PacketTrace, trace as run } from '../trace/trace.ts'
import { load } from './replay.ts'
import { UsageError } from './usage_error.ts'

export interface TraceCommand {
  readonly rules?: string[]
  readonly in?: string[]
  /** From 1, in the order of arrival. */
  readonly packet?: number
  readonly json?: boolean
}

/** Runs the command; returns the exit status. */
export async function trace(folder: string | undefined, o: TraceCommand): Promise<number> {
  const scenario = load('trace', folder, o)
  const told: PacketTrace[] = []
  let count = 0
  const { summary, damaged } = await run(
    scenario,
    (t) => {
      count++
      if (o.json) told.push(t)
      else process.stdout.write(`${traceText(t)}\n`)
    },
    o.packet,
  )
  for (const { path, damage } of damaged)
    process.stderr.write(`${path}: damaged at byte ${damage.offset}: ${damage.what}\n`)
  if (o.packet !== undefined && count === 0) throw new UsageError(`trace: there are fewer than ${o.packet} packets`)
  if (o.json) process.stdout.write(`${JSON.stringify({ packets: told, drops: summary.drops }, null, 1)}\n`)
  return damaged.length > 0 ? 1 : 0
}
