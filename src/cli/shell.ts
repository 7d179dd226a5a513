// flowerbed shell: a command, or a shell, in which the unmodified tc and ip speak to the daemon.
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import { constants } from 'node:os'
import { doorEnvironment } from '../daemon/door.ts'
import { SocketError } from './socket_error.ts'

/** Runs the command; returns its exit status, 128 and the signal's number when a signal ended it. */
export async function shell(command: readonly string[], socket: string): Promise<number> {
  await reachable(socket)
  const [program, ...words] = command.length > 0 ? command : [process.env.SHELL || '/bin/sh']
  const child = spawn(program, words, { stdio: 'inherit', env: doorEnvironment(socket) })
  // What the terminal sends goes to both; who decides is the child.
  const ignore = (): void => {}
  process.on('SIGINT', ignore)
  process.on('SIGQUIT', ignore)
  const pass = (): void => void child.kill('SIGTERM')
  process.on('SIGTERM', pass)
  try {
    return await new Promise<number>((resolve) => {
      child.on('error', (e: NodeJS.ErrnoException) => {
        process.stderr.write(`flowerbed shell: ${program}: ${e.code === 'ENOENT' ? 'command not found' : e.message}\n`)
        resolve(e.code === 'ENOENT' ? 127 : 126)
      })
      child.on('exit', (code, signal) => resolve(signal === null ? (code ?? 0) : 128 + constants.signals[signal]))
    })
  } finally {
    process.off('SIGINT', ignore)
    process.off('SIGQUIT', ignore)
    process.off('SIGTERM', pass)
  }
}

function reachable(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = connect(path)
    probe.on('connect', () => {
      probe.destroy()
      resolve()
    })
    probe.on('error', (e) => reject(new SocketError(path, e)))
  })
}
