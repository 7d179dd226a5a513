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
    child.stdout!.on('data', hear)
    child.stderr!.on('data', hear)
    child.once('exit', (code) => reject(new Error(`${child.spawnargs.join(' ')} ended (${code}):\n${heard.text}`)))
  })
}

/** Starts `flowerbed run` on a configuration; resolves when it is ready, or has ended. */
export const startProcess = (config: object, ...options: string[]): Promise<DaemonProcess> =>
  startProcessAt({}, config, ...options)

/** The same, somewhere else, or with a script. */
export async function startProcessAt(
  { within, lines = [] }: Place,
  config: object,
  ...options: string[]
): Promise<DaemonProcess> {
  const dir = folder()
  const socket = join(dir, 'below/rtnetlink.sock')
  writeFileSync(
    join(dir, 'c.yaml'),
    JSON.stringify({ socket, ...(lines.length > 0 && { scripts: ['lines.tc'] }), ...config }),
  )
  writeFileSync(join(dir, 'lines.tc'), lines.map((line) => `tc ${line}\n`).join(''))
  const words = [process.execPath, command, 'run', '--config', join(dir, 'c.yaml'), ...options]
  const [program, ...args] = within === undefined ? words : ['ip', 'netns', 'exec', within, ...words]
  const child = spawn(program, args, {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let log = ''
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
  await new Promise<void>((resolve) => {
    child.stderr.on('data', (text) => {
      log += text
      if (log.includes('"ready"')) resolve()
    })
    void ended.then(() => resolve())
  })
  return {
    socket,
    process: child,
    get log() {
      return log
    },
    async end() {
      child.kill('SIGTERM')
      const status = await ended
      rmSync(dir, { recursive: true, force: true })
      return status
    },
  }
}
