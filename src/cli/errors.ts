// What an error means to the one who ran the command: a line on stderr and an exit status.
import { CaptureError } from '../port/capture/capture.ts'
import { ScenarioError } from '../replay/scenario_error.ts'
import { UsageError } from './usage_error.ts'

/** The system's answers that a different command line would have avoided. */
const BAD_INPUT = new Set(['ENOENT', 'EISDIR', 'ENOTDIR', 'EEXIST'])

function systemError(e: unknown): NodeJS.ErrnoException | null {
  return e instanceof Error && typeof (e as NodeJS.ErrnoException).syscall === 'string' ? e : null
}

/** 2 for bad input, 3 when the system refused. Anything else is a bug and keeps its stack. */
export function exitStatus(e: unknown): number {
  if (e instanceof ScenarioError || e instanceof CaptureError || e instanceof UsageError) return 2
  const system = systemError(e)
  if (system === null) throw e
  return BAD_INPUT.has(system.code ?? '') ? 2 : 3
}

/** Says it on stderr, one line first. */
export function report(e: unknown): void {
  const system = systemError(e)
  const text =
    system === null ? String((e as Error).message ?? e) : `${system.path ?? system.syscall}: ${plain(system)}`
  if (e instanceof ScenarioError || e instanceof CaptureError || e instanceof UsageError || system !== null)
    process.stderr.write(`${text}\n`)
}

/** "ENOENT: no such file or directory, open 'x'" without what is said already. */
function plain(e: NodeJS.ErrnoException): string {
  return e.message.replace(/^E[A-Z0-9]+: /, '').replace(/, \w+( '.*')?$/, '')
}
