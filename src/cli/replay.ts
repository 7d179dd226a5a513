// flowerbed replay: a scenario in, results out: files, one JSON document, or a summary for people.
import { statSync } from 'node:fs'
import { replay as run } from '../replay/replay.ts'
import { loadScenario, type Scenario, scenarioOf } from '../replay/scenario.ts'
import { summaryText } from '../replay/summary_text.ts'
import { openProgress } from './progress.ts'
import { UsageError } from './usage_error.ts'

export interface ReplayCommand {
  readonly rules?: string[]
  readonly in?: string[]
  readonly out?: string
  readonly json?: boolean
  readonly workers: number
  readonly events?: string
  readonly pcapBackend?: 'pcap-parser'
  readonly profile?: 'mlx5'
  readonly pace?: boolean
  readonly controlWorkers?: number
}

/** Runs the command; returns the exit status. */
export async function replay(folder: string | undefined, o: ReplayCommand): Promise<number> {
  const scenario = load('replay', folder, o)
  const bytes = scenario.captures.reduce((sum, c) => sum + (statSync(c.path, { throwIfNoEntry: false })?.size ?? 0), 0)
  const progress = openProgress(bytes)
  try {
    const result = await run(scenario, {
      out: o.out,
      workers: o.workers,
      events: o.events,
      pcapBackend: o.pcapBackend,
      profile: o.profile,
      pace: o.pace,
      controlWorkers: o.controlWorkers,
      progress: progress.update,
      // What a command prints goes to log.txt, and to the screen only where nothing else goes there.
      printed: o.out === undefined && !o.json ? (text) => void process.stdout.write(text) : undefined,
    })
    progress.stop()
    if (o.json) process.stdout.write(`${JSON.stringify(result.summary, null, 1)}\n`)
    else if (o.out === undefined) process.stdout.write(summaryText(result.summary))
    for (const { path, damage } of result.damaged)
      process.stderr.write(`${path}: damaged at byte ${damage.offset}: ${damage.what}\n`)
    return result.damaged.length > 0 ? 1 : 0
  } finally {
    progress.stop()
  }
}

/** The scenario that a command's words name: a folder, or rule files and captures. */
export function load(command: string, folder: string | undefined, o: { rules?: string[]; in?: string[] }): Scenario {
  if (folder !== undefined) {
    if (o.rules || o.in) throw new UsageError(`${command}: a scenario folder, or --rules and --in, not both`)
    return loadScenario(folder)
  }
  if (!o.rules && !o.in)
    throw new UsageError(`${command}: which scenario? A folder, or --rules FILE and --in PORT=PCAP`)
  return scenarioOf(o.rules ?? [], o.in ?? [])
}
