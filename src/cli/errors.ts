// What an error means to the one who ran the command: a line on stderr and an exit status.
import { BenchError } from '../bench/bench_error.ts'
import { ConfigError } from '../daemon/config_error.ts'
import { DamagedError } from '../daemon/damaged_error.ts'
import { DoorError } from '../daemon/door.ts'
import { MemoryError } from '../memory/memory_error.ts'
import { CaptureError } from '../port/capture/capture.ts'
import { PortError } from '../port/port_error.ts'
import { ScenarioError } from '../replay/scenario_error.ts'
import { JournalError } from '../rtnl/journal_format.ts'
import { SocketError } from './socket_error.ts'
import { UsageError } from './usage_error.ts'

/** The system's answers that a different command line would have avoided. */
const BAD_INPUT = new Set(['ENOENT', 'EISDIR', 'ENOTDIR', 'EEXIST'])

function systemError(e: unknown): NodeJS.ErrnoException | null {
  return e instanceof Error && typeof (e as NodeJS.ErrnoException).syscall === 'string' ? e : null
}

const isBadInput = (e: unknown): e is Error =>
  [ScenarioError, CaptureError, UsageError, ConfigError, BenchError].some((kind) => e instanceof kind)

/** What the daemon's side may be missing: a socket that answers, a compiler, a device, a capability. */
const isMissing = (e: unknown): e is Error =>
  e instanceof SocketError || e instanceof DoorError || e instanceof PortError

/** 1 for a damaged journal, 2 for bad input, 3 when the system refused, or for a bug. */
export function exitStatus(e: unknown): number {
  if (e instanceof DamagedError || e instanceof JournalError) return 1
  return isBadInput(e) || BAD_INPUT.has(systemError(e)?.code ?? '') ? 2 : 3
}

/** Says it on stderr, one line first. A bug keeps its stack. */
export function report(e: unknown): void {
  const system = systemError(e)
  if (
    e instanceof DamagedError ||
    e instanceof JournalError ||
    isBadInput(e) ||
    isMissing(e) ||
    e instanceof MemoryError
  )
    process.stderr.write(`${e.message}\n`)
  else if (system !== null) process.stderr.write(`${system.path ?? system.syscall}: ${plain(system)}\n`)
  else process.stderr.write(`flowerbed: a bug: ${e instanceof Error ? e.stack : e}\n`)
}

/** "ENOENT: no such file or directory, open 'x'" without what is said already. */
function plain(e: NodeJS.ErrnoException): string {
  return e.message.replace(/^E[A-Z0-9]+: /, '').replace(/, \w+( '.*')?$/, '')
}
