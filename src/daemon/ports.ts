// Main's side of ports that come and go while the daemon runs: `flowerbed port add` and `del`, and a configuration that was
// read again. One change at a time; the switch thread makes it (switch_thread.ts), and says how it went.
//
//   add   checked as the configuration is ─▶ lowest free number ─▶ device in the switch ─▶ driver opens ─▶ published
//   del   withdrawn ─▶ a grace period ─▶ closed ─▶ its device, filters and rules go
//
// A port that is added so lasts as long as the daemon does; with a journal it is there again after a start, as its rules are
// (remembered_ports.ts).

import { wakeEventLoop } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { PortError } from '../port/port_error.ts'
import type { Thread } from '../sync/thread.ts'
import { type Config, type PortConfig, parsePort } from './config.ts'
import { ConfigError } from './config_error.ts'
import type { Log } from './log.ts'
import type { NotifierThread } from './notifier.ts'
import { kernelUplinks } from './port_config.ts'
import type { PortChange, PortChanged } from './protocol.ts'
import { type RawPort, withWholePaths } from './remembered_ports.ts'

export interface PortsOptions {
  readonly arena: Arena
  readonly switchThread: Thread
  readonly notifier: NotifierThread
  readonly log: Log
  /** Those that the daemon began with, by number. */
  readonly ports: readonly PortConfig[]
  /** Those that were added to an earlier daemon on this journal, as they were asked for. */
  readonly added: ReadonlyMap<string, RawPort>
  /** Writes down which were added; undefined without a journal. */
  readonly remember: ((ports: Iterable<RawPort>) => Promise<void>) | undefined
}

export class Ports {
  readonly #o: PortsOptions
  /** By number; a hole where one went. */
  readonly #ports: (PortConfig | undefined)[]
  readonly #waiting = new Map<number, (said: PortChanged) => void>()
  /** Those that were added and are no configuration's. */
  readonly #added: Map<string, RawPort>
  #changes = 0
  /** The change that is being made, and all before it. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(o: PortsOptions) {
    this.#o = o
    this.#ports = [...o.ports]
    this.#added = new Map(o.added)
    o.switchThread.onMessage((message) => {
      const said = message as Partial<PortChanged> | null
      if (said?.changed === undefined) return
      this.#waiting.get(said.changed)?.(said as PortChanged)
      this.#waiting.delete(said.changed)
    })
    void o.switchThread.ended.then(() => {
      for (const [changed, settle] of this.#waiting) settle({ changed, error: 'the daemon ends' })
    })
  }

  /** The ports that there are. */
  get all(): readonly PortConfig[] {
    return this.#ports.filter((p) => p !== undefined)
  }

  /** A port as a configuration says it. Rejects with ConfigError, and with PortError when it cannot be had. */
  add(raw: unknown): Promise<PortConfig> {
    return this.#inTurn(async () => {
      const hole = this.#ports.indexOf(undefined)
      const number = hole < 0 ? this.#ports.length : hole
      const port = parsePort(raw, number)
      if (this.all.some((p) => p.name === port.name)) throw new ConfigError(`there is a port ${port.name} already`)
      await this.#remember(port.name, withWholePaths(raw as RawPort))
      try {
        await this.#addAt(number, port)
      } catch (e) {
        await this.#remember(port.name, undefined)
        throw e
      }
      return port
    })
  }

  /** Rejects with ConfigError when there is none of that name. */
  remove(name: string): Promise<void> {
    return this.#inTurn(() => this.#removeNow(name))
  }

  /** What a configuration that was read again has of ports: the new ones come, those that are no more in it go. */
  reload(config: Config): Promise<void> {
    return this.#inTurn(async () => {
      const { log } = this.#o
      for (const { name } of this.all)
        if (!config.ports.some((p) => p.name === name)) await this.#said(name, () => this.#removeNow(name))
      for (const port of config.ports) {
        const number = this.#ports.findIndex((p) => p?.name === port.name)
        if (number < 0) await this.#said(port.name, () => this.#addAt(this.#free(), port))
        else if (differ(port, this.#ports[number]!))
          log.warn(
            { port: port.name },
            'a port is changed in the configuration: that takes a restart, or port del and add',
          )
      }
    })
  }

  #free(): number {
    const hole = this.#ports.indexOf(undefined)
    return hole < 0 ? this.#ports.length : hole
  }

  /** Does it; why it cannot be done goes to the log. */
  async #said(port: string, f: () => Promise<void>): Promise<void> {
    try {
      await f()
    } catch (e) {
      if (!(e instanceof ConfigError || e instanceof PortError)) throw e
      this.#o.log.error({ port, error: e.message }, 'a port of the configuration cannot be had')
    }
  }

  async #addAt(number: number, port: PortConfig): Promise<void> {
    const { error, system } = await this.#change({ number, port })
    if (error !== undefined) throw system ? new PortError(port.name, '', error) : new ConfigError(error)
    this.#ports[number] = port
    this.#tellUplinks()
    this.#o.log.info({ port: port.name, driver: port.driver }, 'a port was added')
  }

  async #removeNow(name: string): Promise<void> {
    const number = this.#ports.findIndex((p) => p?.name === name)
    if (number < 0) throw new ConfigError(`there is no port ${name}`)
    this.#ports[number] = undefined
    this.#tellUplinks()
    const { error } = await this.#change({ number, port: null })
    if (error !== undefined) throw new ConfigError(error)
    await this.#remember(name, undefined)
    this.#o.log.info({ port: name }, 'a port was taken away')
  }

  /** A port that was added is known after a start, too; undefined: it is gone. */
  async #remember(name: string, raw: RawPort | undefined): Promise<void> {
    if (this.#o.remember === undefined || (raw === undefined && !this.#added.has(name))) return
    if (raw === undefined) this.#added.delete(name)
    else this.#added.set(name, raw)
    try {
      await this.#o.remember(this.#added.values())
    } catch (e) {
      if (raw !== undefined) this.#added.delete(name)
      throw new PortError(name, '', `it cannot be written down: ${(e as Error).message}`)
    }
  }

  #tellUplinks(): void {
    this.#o.notifier.setUplinks(kernelUplinks(this.all))
  }

  #change(what: Omit<PortChange, 'change'>): Promise<PortChanged> {
    const { switchThread, arena } = this.#o
    const change = ++this.#changes
    const said = new Promise<PortChanged>((resolve) => this.#waiting.set(change, resolve))
    switchThread.post({ change, ...what } satisfies PortChange)
    wakeEventLoop(arena)
    return said
  }

  #inTurn<T>(f: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(f, f)
    this.#last = mine.catch(() => {})
    return mine
  }
}

const differ = (x: PortConfig, y: PortConfig): boolean =>
  JSON.stringify({ ...x, mac: [...x.mac] }) !== JSON.stringify({ ...y, mac: [...y.mac] })
