// The daemon: a switch that lives, under a monotonic clock, and the rtnetlink socket by which others manage it.
//
//   main             sockets, HTTP, supervision; never blocks                               (this file, seats.ts)
//   switch thread    the switch: time, host, works; requests that change links and neighbours (switch_thread.ts)
//   control workers  all other requests, at the same time; most connections are lent to them (control_thread.ts, lent.ts)
//   datapath threads packets of live ports                                                  (datapath.ts, live_ports.ts)
//   notifier         follows the kernel's neighbours and routes, where uplinks have them     (notifier.ts)
//
//   configuration ─▶ switch thread: ports, start-up scripts ─▶ control workers ─▶ socket ─▶ requests, until `close`
//
// All of them work on one arena. Without live ports it needs no privileges, and has no datapath threads: dummy ports count
// what they are to send and send it nowhere.

import { availableParallelism } from 'node:os'
import { TraceReader, type TraceRecord } from '../encap/trace.ts'
import { traceEvent } from '../encap/trace_points.ts'
import { type Arena, attachArena } from '../memory/arena.ts'
import { leave, recoverDead } from '../memory/threads.ts'
import { PortError } from '../port/port_error.ts'
import { JournalSync } from '../rtnl/journal_sync.ts'
import { type RtnlServer, serve } from '../rtnl/server.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import { beginning, openClock } from './clock.ts'
import { type Config, parsePort } from './config.ts'
import { ConfigError } from './config_error.ts'
import { DamagedError } from './damaged_error.ts'
import { DatapathThreads } from './datapath.ts'
import { SEAT_BURSTS, SEAT_SLEEPS, SEAT_TURNS } from './datapath_protocol.ts'
import { type HttpEvent, type HttpServer, serveHttp } from './http.ts'
import type { JournalData } from './journalled.ts'
import { newListening, setListening } from './listening.ts'
import type { Log } from './log.ts'
import { openMetrics } from './metrics.ts'
import { NotifierThread } from './notifier.ts'
import { isLive, kernelUplinks } from './port_config.ts'
import { Ports } from './ports.ts'
import { type CommonData, END, type Failed, type Ready, type Said, type SwitchThreadData } from './protocol.ts'
import { type RawPort, readPorts, writePorts } from './remembered_ports.ts'
import { type RequestCount, Seats } from './seats.ts'
import { tables } from './tables/index.ts'

/** How often the trace rings are looked at while somebody follows them, ms. */
const LOOK = 100

/** GET /threads. */
export interface ThreadTable {
  /** Of the threads that do requests, the switch's first. */
  readonly requests: readonly RequestCount[]
  /** Of the datapath threads: turns, those that found packets, and how often it slept until something came. */
  readonly datapath: readonly {
    readonly worker: number
    readonly turns: number
    readonly bursts: number
    readonly sleeps: number
  }[]
}

export interface Daemon {
  readonly arena: Arena
  readonly server: RtnlServer
  readonly http: HttpServer
  readonly seats: Seats
  readonly datapath: DatapathThreads
  readonly notifier: NotifierThread
  readonly ports: Ports
  /** Nanoseconds of the switch's clock. */
  now(): number
  /** Settles with what makes it impossible to go on: the death of the switch thread. */
  readonly failed: Promise<Error>
  /**
   * Goes over to a configuration that was read again: ports come and go, and the log's level changes. What takes a restart is
   * named in the log, and stays.
   */
  reload(config: Config): Promise<void>
  /** Ends everything in order; the socket is gone then. */
  close(): Promise<void>
}

/** What of a configuration can change without a restart. */
const CHANGEABLE: readonly string[] = ['log', 'ports']

/** Control workers when nobody says how many: a core is main's and the switch's. */
const controlWorkers = (): number => Math.max(1, availableParallelism() - 1)

/**
 * Starts a daemon. Rejects with ConfigError when a start-up script fails, with PortError when a port cannot be had, and
 * with the system's error when the socket cannot; then nothing is left behind.
 */
export async function startDaemon(config: Config, log: Log): Promise<Daemon> {
  const began = beginning()
  const { scripts, profile } = config
  const path = config.journal?.path
  const added = path === undefined ? new Map<string, RawPort>() : readPorts(path, config.ports)
  const ports = [...config.ports]
  for (const raw of added.values()) ports.push(parsePort(raw, ports.length))
  const journal: JournalData | undefined = config.journal && {
    path: config.journal.path,
    compactBytes: config.journal.compactBytes,
    ports,
  }
  const common: CommonData = {
    began,
    listening: newListening(),
    doing: new Int32Array(new SharedArrayBuffer(4)),
    journal,
  }
  const workers = config.workers ?? (ports.some(isLive) ? availableParallelism() : 0)
  const data: SwitchThreadData = { ...common, role: 'switch', ports, scripts, profile, workers }
  const thread = spawn(new URL('./switch_thread.ts', import.meta.url), data, 'switch')
  const { memory, seats: datapathSeats } = await ready(thread, log)
  const arena = attachArena(memory)

  let fail = (_: Error): void => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  let ending = false
  void thread.ended.then(({ error, code }) => {
    if (ending) return
    const { locks } = recoverDead(arena, thread.self) // so that nobody waits for them at the end
    log.error({ thread: 'switch', code, error: error?.stack, locks }, 'the switch thread died')
    fail(error ?? new Error(`the switch thread ended early (${code})`))
  })
  let server: RtnlServer | undefined
  let http: HttpServer | undefined
  let events: NodeJS.Timeout | undefined
  const sync =
    config.journal &&
    new JournalSync(arena, {
      ...config.journal,
      failed(e) {
        log.error({ journal: config.journal?.path, error: e.message }, 'the disk refused to sync the journal')
        fail(e)
      },
    })
  const seats = new Seats({
    arena,
    began,
    listening: common.listening,
    switchThread: { thread, doing: common.doing },
    control: config.controlWorkers ?? controlWorkers(),
    log,
    journal,
    whenSafe: (record, done) => (sync === undefined ? done() : sync.whenSafe(record | 0, done)),
    tell: (message, except) => server?.tell(message, except),
    failed: fail,
  })
  const datapath = new DatapathThreads({
    arena,
    seats: datapathSeats,
    began,
    switchThread: thread,
    busyPoll: config.busyPoll,
    pin: config.pin,
    log,
    failed: fail,
  })
  const notifier = new NotifierThread({
    arena,
    began,
    listening: common.listening,
    uplinks: kernelUplinks(ports),
    journal,
    log,
    tell: (message) => server?.tell(message, 0),
  })
  const daemonPorts = new Ports({
    arena,
    switchThread: thread,
    notifier,
    log,
    ports,
    added,
    remember: path === undefined ? undefined : (all) => writePorts(path, all),
  })
  const close = async (): Promise<void> => {
    ending = true
    clearInterval(events)
    await server?.close()
    await notifier.close()
    await datapath.close()
    await http?.close()
    await seats.close()
    await sync?.close()
    leave(arena)
  }
  try {
    await datapath.running()
    server = await serve({
      path: config.socket,
      mode: config.mode,
      executor: seats,
      listening: (groups) => setListening(common.listening, groups),
      closed: (why) => log.debug({ why }, 'a client is gone'),
    })
    http = await serveHttp({
      path: config.http,
      mode: config.mode,
      listen: config.httpListen,
      ports: daemonPorts,
      metrics: openMetrics({
        arena,
        journal: journal !== undefined,
        syncs: () => sync?.syncs ?? 0,
        clients: () => server?.sessions.size ?? 0,
        seats: datapath.seats,
        requests: () => seats.counts(),
        table: (name) => seats.table(name, {}),
      }),
    })
    http.route('/threads', () => threadTable(seats, datapath, arena))
    for (const name of Object.keys(tables)) http.route(`/${name}`, (query) => seats.table(name, query))
    events = tellEvents(arena, http)
  } catch (e) {
    await close()
    throw e
  }
  log.info({ socket: config.socket, ports: ports.map((p) => p.name), control: seats.control.length }, 'ready')
  return {
    arena,
    server,
    http,
    seats,
    datapath,
    notifier,
    ports: daemonPorts,
    now: openClock(began),
    failed,
    async reload(next) {
      const stays = (Object.keys(config) as (keyof Config)[]).filter(
        (key) => !CHANGEABLE.includes(key) && JSON.stringify(next[key]) !== JSON.stringify(config[key]),
      )
      if (stays.length > 0) log.warn({ options: stays }, 'changed in the configuration: that takes a restart')
      log.level = next.log
      await daemonPorts.reload(next)
      log.info({ ports: daemonPorts.all.map((p) => p.name) }, 'the configuration was read again')
    },
    async close() {
      await close()
      log.info('ended')
    },
  }
}

/** What each thread has done: those that do requests, and those that move packets. */
const threadTable = (seats: Seats, datapath: DatapathThreads, { m }: Arena): ThreadTable => ({
  requests: seats.counts(),
  datapath: datapath.seats.map(({ state }, i) => ({
    worker: i + 1,
    turns: m[(state + SEAT_TURNS) >> 2] >>> 0,
    bursts: m[(state + SEAT_BURSTS) >> 2] >>> 0,
    sleeps: m[(state + SEAT_SLEEPS) >> 2] >>> 0,
  })),
})

/** Hands what the trace rings hear to those who follow /events. */
function tellEvents(arena: Arena, http: HttpServer): NodeJS.Timeout {
  const reader = new TraceReader(arena)
  return setInterval(() => {
    if (http.followed) for (const r of reader.read()) http.tell(httpEvent(r))
    else reader.skip()
  }, LOOK)
}

function httpEvent(record: TraceRecord): HttpEvent {
  const { event, time, fields, text } = traceEvent(record)
  return { ...fields, event, time, text }
}

/** Waits until the switch stands. Rejects with ConfigError, or with what the thread died of. */
async function ready(thread: Thread, log: Log): Promise<Ready> {
  const said = await new Promise<Ready | Failed>((resolve, reject) => {
    let done = false
    thread.onMessage((message) => {
      if (done || message instanceof Uint8Array) return
      const m = message as Ready | Failed | Said
      if ('log' in m) log[m.log](m.what, m.message)
      else {
        done = true
        resolve(m)
      }
    })
    void thread.ended.then(({ error, code }) => reject(error ?? new Error(`the switch thread ended early (${code})`)))
  })
  if ('ready' in said) return said
  thread.post(END)
  await thread.ended
  if (said.journal) throw new DamagedError(said.failed)
  throw said.port === undefined ? new ConfigError(said.failed) : new PortError(said.port, '', said.failed)
}
