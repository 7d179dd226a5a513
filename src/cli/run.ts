// flowerbed run: the daemon, until a signal ends it.
import { existsSync } from 'node:fs'
import { FOR_PORTS, keepCapabilities } from '../daemon/capabilities.ts'
import { type Config, defaultConfig, readConfig } from '../daemon/config.ts'
import { ConfigError } from '../daemon/config_error.ts'
import { type Daemon, startDaemon } from '../daemon/daemon.ts'
import { type Log, openLog } from '../daemon/log.ts'
import { openNotify } from '../daemon/notify.ts'

export interface RunCommand {
  readonly config?: string
  readonly socket?: string
  readonly http?: string
  readonly workers?: number
  readonly controlWorkers?: number
  readonly busyPoll?: boolean
}

/** Read when it is there and no other is named. */
const CONFIG = '/etc/flowerbed.yaml'

/**
 * Runs the daemon; SIGHUP has it read its configuration again. Resolves with 0 when SIGTERM or SIGINT has ended it, with 1
 * when it could not go on.
 */
export async function run(o: RunCommand): Promise<number> {
  const read = (): Config => {
    const config = o.config !== undefined || existsSync(CONFIG) ? readConfig(o.config ?? CONFIG) : defaultConfig()
    return {
      ...config,
      socket: o.socket ?? config.socket,
      http: o.http ?? config.http,
      workers: o.workers ?? config.workers,
      controlWorkers: o.controlWorkers ?? config.controlWorkers,
      busyPoll: o.busyPoll ?? config.busyPoll,
    }
  }
  const config = read()
  const log = openLog(config.log)
  const daemon = await startDaemon(config, log)
  const kept = keepCapabilities(daemon.datapath.seats.length > 0 ? FOR_PORTS : [])
  log.debug({ kept }, 'all other capabilities were given up')
  const notify = openNotify()
  process.on('SIGHUP', () => {
    notify.tell(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
    void reload(daemon, read, log).finally(() => notify.tell('READY=1'))
  })
  notify.tell('READY=1')
  const alive = notify.watchdogMs > 0 ? setInterval(() => notify.tell('WATCHDOG=1'), notify.watchdogMs) : undefined
  const signal = new Promise<0>((resolve) => {
    process.once('SIGTERM', () => resolve(0))
    process.once('SIGINT', () => resolve(0))
  })
  const status = await Promise.race([signal, daemon.failed.then(() => 1)])
  notify.tell('STOPPING=1')
  clearInterval(alive)
  await daemon.close()
  notify.close()
  return status
}

/** What is wrong with the new configuration goes to the log, and the daemon goes on as it was. */
async function reload(daemon: Daemon, read: () => Config, log: Log): Promise<void> {
  try {
    await daemon.reload(read())
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e
    log.error({ error: e.message }, 'the configuration was not read again')
  }
}
