// flowerbed tc, flowerbed ip: our own front end to the daemon, for where iproute2 is not installed.
import { readFileSync } from 'node:fs'
import { FrontEnd } from '../daemon/front_end.ts'
import { openClient } from '../rtnl/client.ts'
import { SocketError } from './socket_error.ts'

/** Runs the words behind `tc` or `ip`; returns the exit status, which is iproute2's. */
export async function tc(program: 'tc' | 'ip', words: readonly string[], socket: string): Promise<number> {
  const client = await openClient(socket).catch((e: NodeJS.ErrnoException) => {
    throw new SocketError(socket, e)
  })
  const frontEnd = new FrontEnd(client, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    read: (path) => readFileSync(path === '-' ? 0 : path, 'utf8'),
  })
  try {
    return await frontEnd.run(program, words)
  } finally {
    client.close()
  }
}
