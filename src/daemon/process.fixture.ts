// A daemon as users have it, for tests: a process of the built command, ready, and ended with the test.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))

export interface DaemonProcess {
  readonly socket: string
  readonly process: ChildProcess
  /** What it has logged so far. */
  readonly log: string
  /** Ends it, with SIGTERM unless it has ended; resolves with its exit status. */
  end(): Promise<number | null>
}

/** A folder for the files of a test. */
export const folder = (): string => mkdtempSync(join(tmpdir(), 'flowerbed-daemon-'))

/** Where a daemon runs, and the lines of its start-up script. */
export interface Place {
  /** Name of a network namespace. */
  readonly within?: string
  readonly lines?: readonly string[]
}

/** Hears what a process says on both its outputs. Resolves when it has said `ready`, throws when it ends before. */
export function said(child: ChildProcess, ready = '"ready"'): Promise<{ readonly text: string }> {
  const heard = { text: '' }
  return new Promise((resolve, reject) => {
    const hear = (text: Buffer): void => {
      heard.text += text
      if (heard.text.includes(ready)) resolve(heard)
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.once('exit', (code) => reject(new Error(`${child.spawnargs.join(' ')} ended (${code}):\n${heard.text}`)))
  })
}

/** Starts `flowerbed run` on a configuration; resolves when it is ready, throws when it ends before. */
export const startProcess = (config: object, ...options: string[]): Promise<DaemonProcess> =>
  startProcessAt({}, config, ...options)

/** The same, somewhere else, or with a script. */
export async function startProcessAt(place: Place, config: object, ...options: string[]): Promise<DaemonProcess> {
  const { dir, socket, child } = launch(place, config, options)
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const heard = await said(child)
  return {
    socket,
    process: child,
    get log() {
      return heard.text
    },
    async end() {
      child.kill('SIGTERM')
      const status = await ended
      rmSync(dir, { recursive: true, force: true })
      return status
    },
  }
}

/** A daemon that has to refuse its configuration: its exit status, and what it said. Throws when it gets ready. */
export async function refusedProcess(
  config: object,
  place: Place = {},
): Promise<{ readonly socket: string; readonly status: number | null; readonly log: string }> {
  const { dir, socket, child } = launch(place, config, [])
  let log = ''
  child.stderr!.on('data', (text) => {
    log += text
    if (log.includes('"ready"')) child.kill('SIGTERM')
  })
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  rmSync(dir, { recursive: true, force: true })
  if (log.includes('"ready"')) throw new Error(`it was to be refused:\n${log}`)
  return { socket, status, log }
}

function launch({ within, lines = [] }: Place, config: object, options: readonly string[]) {
  const dir = folder()
  const socket = join(dir, 'below/rtnetlink.sock')
  writeFileSync(
    join(dir, 'c.yaml'),
    JSON.stringify({ socket, ...(lines.length > 0 && { scripts: ['lines.tc'] }), ...config }),
  )
  writeFileSync(join(dir, 'lines.tc'), lines.map((line) => `tc ${line}\n`).join(''))
  const words = [process.execPath, command, 'run', '--config', join(dir, 'c.yaml'), ...options]
  const [program, ...args] = within === undefined ? words : ['ip', 'netns', 'exec', within, ...words]
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] })
  return { dir, socket, child }
}
