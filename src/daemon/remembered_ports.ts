// Ports that were added to a running daemon that has a journal: a file beside it, so that a start has them again, as the
// journal has their rules.
//
//   add   written here ─▶ made ─▶ a snapshot of the journal that has the port ─▶ acknowledged
//   del   gone, with a snapshot without it ─▶ no more here ─▶ acknowledged
//
// So whatever is in the journal of a port, the port is known, wherever the daemon is killed. A port that the configuration
// has by now is the configuration's. Main's; the file is written aside, synced, and renamed.

import { readFileSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { syncFolder } from '../rtnl/journal.ts'
import { type PortConfig, parsePort } from './config.ts'
import { ConfigError } from './config_error.ts'

/** A port as it was asked for, as a configuration says it. */
export type RawPort = Readonly<Record<string, unknown>>

const pathOf = (journal: string): string => `${journal}.ports`

/** Those that the configuration has not. Throws ConfigError for a file that says none. */
export function readPorts(journal: string, configured: readonly PortConfig[]): Map<string, RawPort> {
  const path = pathOf(journal)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw new ConfigError(`${path}: ${String(e)}`)
  }
  const ports = new Map<string, RawPort>()
  try {
    for (const raw of JSON.parse(text) as RawPort[]) {
      const { name } = parsePort(raw, configured.length + ports.size)
      if (!configured.some((p) => p.name === name)) ports.set(name, raw)
    }
  } catch (e) {
    throw new ConfigError(`${path}: ${(e as Error).message}`)
  }
  return ports
}

/** Writes them down. Rejects with the system's error; then the file is as it was. */
export async function writePorts(journal: string, ports: Iterable<RawPort>): Promise<void> {
  const path = pathOf(journal)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify([...ports], null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  syncFolder(path)
}

/** The same port wherever the daemon is started: the paths of captures are whole. */
export function withWholePaths(raw: RawPort): RawPort {
  const whole = { ...raw }
  for (const key of ['in', 'out']) if (typeof raw[key] === 'string') whole[key] = resolve(raw[key])
  return whole
}
