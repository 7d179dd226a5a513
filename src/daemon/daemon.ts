// The daemon: a switch that lives, under the wall clock, and the rtnetlink socket by which others manage it.
//
//   configuration ─▶ switch, ports ─▶ start-up scripts ─▶ socket ─▶ requests and time, until `close`
//
// One thread owns the switch and does everything: requests as they come, timers in between. Time is a monotonic clock
// that begins with the daemon, brought to the switch before each request and at every tick. It needs no privileges:
// there are only dummy ports, which count what they are to send and send it nowhere.

import { readFileSync } from 'node:fs'
import { execute } from '../replay/execute.ts'
import { type RtnlServer, serve } from '../rtnl/server.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitScript } from '../tc/line.ts'
import type { Config } from './config.ts'
import { ConfigError } from './config_error.ts'
import type { Log } from './log.ts'
import { openNews } from './news.ts'

/** How often time is brought to an idle switch, in ms: its timers are those of neighbours. */
const TICK = 20
/** Room for an Ethernet header and a VLAN tag. */
const HEADERS = 18

export interface Daemon {
  readonly switch: Switch
  readonly server: RtnlServer
  /** Ends everything in order; the socket is gone then. */
  close(): Promise<void>
}

/**
 * Starts a daemon. Throws ConfigError when a start-up script fails, and the system's error when the socket cannot be
 * had; then nothing is left behind.
 */
export async function startDaemon(config: Config, log: Log): Promise<Daemon> {
  const sw = createSwitch({
    ports: config.ports,
    frameSize: Math.max(1500, ...config.ports.map((p) => p.mtu)) + HEADERS,
  })
  const began = performance.now()
  const clock = (): void => sw.advance(Math.floor((performance.now() - began) * 1e6))
  let server: RtnlServer | undefined
  const ms = (): number => Math.floor(sw.now / 1e6)
  const news = openNews(sw.arena, ms, (message) => server?.tell(message))
  try {
    for (const script of config.scripts) runScript(sw, script, log)
    server = await serve({
      path: config.socket,
      mode: config.mode,
      request: (message) => {
        clock()
        return sw.request(message)
      },
      listening: news.listening,
      closed: (why) => log.debug({ why }, 'a client is gone'),
    })
  } catch (e) {
    sw.close()
    throw e
  }
  const tick = setInterval(clock, TICK)
  log.info({ socket: config.socket, ports: config.ports.map((p) => p.name) }, 'ready')
  return {
    switch: sw,
    server,
    async close() {
      clearInterval(tick)
      await server.close()
      sw.close()
      log.info('ended')
    },
  }
}

/** Runs the lines of a start-up script; the first that is refused is one too many. */
function runScript(sw: Switch, path: string, log: Log): void {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (e) {
    throw new ConfigError(`${path}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such script' : String(e)}`)
  }
  try {
    for (const line of splitScript(text)) {
      try {
        const printed = execute(sw, line.words)
        if (printed !== '') log.info({ script: path, line: line.first, printed }, 'a script printed')
      } catch (e) {
        throw e instanceof LanguageError ? new ConfigError(`${path}:${line.first}: ${e.message}`) : e
      }
    }
  } catch (e) {
    throw e instanceof LanguageError ? new ConfigError(`${path}: ${e.message}`) : e
  }
}
