// What a figure was measured on: processor, memory, software, and how busy the machine was.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
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
  return {
    cpu: first?.model ?? 'unknown',
    mhz: first?.speed || clock(first?.model ?? ''),
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    load: Math.round(loadavg()[0] * 100) / 100,
  }
}

/** Where the system's usual door does not tell the clock: Linux's own file, or the model's name ("… @ 2.80GHz"). */
function clock(model: string): number {
  try {
    const mhz = /^cpu MHz\s*: ([\d.]+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]
    if (mhz !== undefined) return Math.round(Number(mhz))
  } catch {}
  return Number(/@ ([\d.]+)GHz/.exec(model)?.[1] ?? 0) * 1000
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
