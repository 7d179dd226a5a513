// flowerbed run: the daemon, until a signal ends it.
import { existsSync } from 'node:fs'
import { type Config, defaultConfig, readConfig } from '../daemon/config.ts'
import { startDaemon } from '../daemon/daemon.ts'
import { openLog } from '../daemon/log.ts'

export interface RunCommand {
  readonly config?: string
  readonly socket?: string
}

/** Read when it is there and no other is named. */
const CONFIG = '/etc/flowerbed.yaml'

/** Runs the daemon; resolves with 0 when SIGTERM or SIGINT has ended it. */
export async function run(o: RunCommand): Promise<number> {
  const config: Config = o.config !== undefined || existsSync(CONFIG) ? readConfig(o.config ?? CONFIG) : defaultConfig()
  const daemon = await startDaemon({ ...config, socket: o.socket ?? config.socket }, openLog(config.log))
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve())
    process.once('SIGINT', () => resolve())
  })
  await daemon.close()
  return 0
}
