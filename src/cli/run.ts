// flowerbed run: the daemon, until a signal ends it.
import { existsSync } from 'node:fs'
import { type Config, defaultConfig, readConfig } from '../daemon/config.ts'
import { startDaemon } from '../daemon/daemon.ts'
import { openLog } from '../daemon/log.ts'
import { openNotify } from '../daemon/notify.ts'

export interface RunCommand {
  readonly config?: string
  readonly socket?: string
  readonly http?: string
  readonly workers?: number
  readonly controlWorkers?: number
}

/** Read when it is there and no other is named. */
const CONFIG = '/etc/flowerbed.yaml'

/** Runs the daemon; resolves with 0 when SIGTERM or SIGINT has ended it, with 1 when it could not go on. */
export async function run(o: RunCommand): Promise<number> {
  const config: Config = o.config !== undefined || existsSync(CONFIG) ? readConfig(o.config ?? CONFIG) : defaultConfig()
  const daemon = await startDaemon(
    {
      ...config,
      socket: o.socket ?? config.socket,
      http: o.http ?? config.http,
      workers: o.workers ?? config.workers,
      controlWorkers: o.controlWorkers ?? config.controlWorkers,
    },
    openLog(config.log),
  )
  const notify = openNotify()
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
