// What a figure was measured on: processor, memory, software, and how busy the machine was.
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Machine {
  readonly cpu: string
  readonly mhz: number
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
  /** Load average of the last minute when the bench began. */
  readonly load: number
}

export function machine(): Machine {
  const [first] = cpus()
  // Where the system does not tell the clock, the model's name often does: "… @ 2.80GHz".
  const named = /@ ([\d.]+)GHz/.exec(first?.model ?? '')?.[1]
  return {
    cpu: first?.model ?? 'unknown',
    mhz: first?.speed || (named === undefined ? 0 : Number(named) * 1000),
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    load: Math.round(loadavg()[0] * 100) / 100,
  }
}

/** The commit of the checkout, or "unknown" in an installed package. */
export function commit(): string {
  try {
    const cwd = fileURLToPath(new URL('../..', import.meta.url))
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}
