// flowerbed port add, port del: ports of a running daemon. `port show` is a table (show.ts).

import { portWords } from '../daemon/config.ts'
import { ConfigError } from '../daemon/config_error.ts'
import { change, HttpRefusal } from '../daemon/http_client.ts'
import { PortError } from '../port/port_error.ts'
import { SocketError } from './socket_error.ts'

/** Adds a port: `words` are options and values as a configuration has them. */
export async function portAdd(http: string, name: string, words: readonly string[]): Promise<number> {
  await ask(http, name, 'POST', '/ports', portWords(name, words))
  return 0
}

/** Takes a port away, with its rules. */
export async function portDel(http: string, name: string): Promise<number> {
  await ask(http, name, 'DELETE', `/ports/${encodeURIComponent(name)}`)
  return 0
}

async function ask(http: string, name: string, method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<void> {
  try {
    await change(http, method, path, body)
  } catch (e) {
    if (e instanceof HttpRefusal)
      throw e.kind === 'PortError' ? new PortError(name, '', e.message) : new ConfigError(`port ${name}: ${e.message}`)
    if ((e as NodeJS.ErrnoException).syscall !== undefined) throw new SocketError(http, e as NodeJS.ErrnoException)
    throw e
  }
}
