// flowerbed doctor: what this machine lacks for what the configuration asks, and what to do about it.
import { existsSync } from 'node:fs'
import { type Config, defaultConfig, readConfig } from '../daemon/config.ts'
import type { Finding } from '../daemon/doctor/check.ts'
import { checks } from '../daemon/doctor/index.ts'

export interface DoctorCommand {
  readonly config?: string
  readonly fix?: boolean
  readonly json?: boolean
}

const CONFIG = '/etc/flowerbed.yaml'
const MARKS: Readonly<Record<Finding['verdict'], string>> = {
  ok: 'ok   ',
  warning: 'warn ',
  error: 'ERROR',
  skipped: 'skip ',
}

/** Looks, mends when asked to, and says. Returns 0, or 1 when an error is left. */
export function doctor(o: DoctorCommand): number {
  const config: Config = o.config !== undefined || existsSync(CONFIG) ? readConfig(o.config ?? CONFIG) : defaultConfig()
  const results = checks.map((check) => ({
    check: check.name,
    about: check.about,
    findings: check.run(config).map((f) => (o.fix && f.fix !== undefined ? mend(f) : f)),
  }))
  if (o.json) process.stdout.write(`${JSON.stringify(results)}\n`)
  else
    for (const { check, about, findings } of results) {
      process.stdout.write(`${check}: ${about}\n`)
      for (const f of findings) {
        process.stdout.write(`  ${MARKS[f.verdict]} ${f.found}\n`)
        if (f.advice !== undefined) process.stdout.write(`        ${f.advice}\n`)
      }
    }
  return results.some((r) => r.findings.some((f) => f.verdict === 'error')) ? 1 : 0
}

function mend(f: Finding): Finding {
  try {
    f.fix?.()
    return { verdict: 'ok', found: `${f.found} (mended: ${f.advice})` }
  } catch (e) {
    return { verdict: 'warning', found: `${f.found}; not mended: ${(e as Error).message}`, advice: f.advice ?? '' }
  }
}
