// The switch thread: owns the switch, and with it time, the host behind the ports, and the works that keep flows on their
// paths (the event worker of the mlx5e scheme). Requests that change links, addresses, routes or neighbours are done here,
// because the host must hear of them at once; all others are the control workers'.
//
//   the kernel's side · journal or start-up scripts ─▶ ready ─▶ [ main's post · packets of datapath threads · timers and works that are due · sleep ] …
//
// It sleeps on the bell of the workqueue: who posts a work rings it, main rings it behind a message, a datapath thread
// behind what it handed up. While it sleeps it is no RCU reader. It never returns to an event loop, so nothing here is
// asynchronous. Its death is the daemon's: half a work may have happened.

import { readFileSync } from 'node:fs'
import { queueOf } from '../encap/root.ts'
import { traceOpen } from '../encap/trace.ts'
import { reclaim } from '../memory/pool.ts'
import { leave } from '../memory/threads.ts'
import { PortError } from '../port/port_error.ts'
import { execute } from '../replay/execute.ts'
import type { Requester } from '../rtnl/datagram.ts'
import { JournalError } from '../rtnl/journal_format.ts'
import type { Control } from '../switch/control.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { postParent, takeParentMessage, threadData } from '../sync/thread.ts'
import { bell, sleep } from '../sync/workqueue.ts'
import { SysError } from '../sys/sys_error.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitScript } from '../tc/line.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import { FOR_PORTS, keepCapabilities, requireCapabilities } from './capabilities.ts'
import { epochOf, openClock } from './clock.ts'
import type { PortConfig } from './config.ts'
import { ConfigError } from './config_error.ts'
import { firstJournal, Journalled, restore, withIndexes } from './journalled.ts'
import { type MirrorData, openMirror, readKernel } from './kernel_mirror.ts'
import { LivePorts } from './live_ports.ts'
import { LookupWatch } from './lookup_watch.ts'
import { isLive, kernelUplinks, livePort, packetBytes, packetSlots, realPort } from './port_config.ts'
import {
  type Died,
  END,
  type Failed,
  type PortChange,
  type PortChanged,
  type Ready,
  type Said,
  type SwitchThreadData,
  type Vacant,
} from './protocol.ts'
import { openRequests } from './request_thread.ts'

/** Room for an Ethernet header and a VLAN tag. */
const HEADERS = 18
/** Address space of the arena: all that a pointer reaches. */
const ARENA_BYTES = 2 ** 31 - 65536
/** Events that each thread keeps for those who follow them. */
const TRACE_EVENTS = 8192
/** Looks round after that long, ms, whatever it was told. */
const NAP = 100

function open(data: SwitchThreadData): void {
  const clock = openClock(data.began)
  const configured = withIndexes(data.ports.map(realPort), data.journal?.path)
  const sw = createSwitch({
    ports: configured,
    frameSize: Math.max(1500, ...configured.map((p) => p.mtu)) + HEADERS,
    arenaBytes: ARENA_BYTES,
    packets: packetSlots(configured),
    packetBytes: packetBytes(configured),
    workers: data.workers,
    profile: data.profile,
    offload: data.workers > 0,
  })
  const { arena } = sw
  traceOpen(arena, TRACE_EVENTS)
  const watch = new LookupWatch(arena, say)
  const ports = new LivePorts(sw, data.workers, say, epochOf(data.began))
  configured.forEach((p, i) => {
    requireCapabilities(p)
    if (isLive(p) || data.workers > 0) ports.add(livePort(p, i, sw.portDevice(i)))
  })
  const requester: Requester = {
    request(message) {
      sw.run(clock())
      return sw.answer(message)
    },
  }
  const control: Control = sw.control
  const uplinks = kernelUplinks(configured)
  const restored = data.journal !== undefined && restore(control, data.journal, say)
  if (!restored) {
    if (uplinks.size > 0) mirrorOnce(control, uplinks, new Journalled(control, undefined, say))
    for (const script of data.scripts) runScript(sw, script)
    if (data.journal !== undefined) firstJournal(control, data.journal)
  }
  const journal = new Journalled(control, data.journal, say)
  if (restored) mirrorOnce(control, uplinks, journal)
  const requests = openRequests(arena, data, () => Math.floor(sw.now / 1e6), requester, journal)
  keepCapabilities(data.workers > 0 ? FOR_PORTS : [])
  postParent({ ready: true, memory: arena.memory, seats: ports.seats } satisfies Ready)

  const q = queueOf(arena)
  for (;;) {
    const seen = bell(arena.m, q)
    const message = takeParentMessage()
    if (message === END) break
    if (message instanceof Uint8Array) requests.take(message)
    else if (message !== undefined && 'died' in (message as Died | PortChange)) {
      const { died } = message as Died
      ports.workerDied(died)
      postParent({ vacant: died } satisfies Vacant)
    } else if (message !== undefined) {
      let answer: PortChanged | undefined
      journal.aside(() => {
        answer = changePort(sw, ports, data, message as PortChange)
        return answer.error === undefined
      })
      postParent(answer)
    }
    const emissions = ports.collect()
    sw.run(clock())
    watch.look(sw.now)
    requests.flush()
    if (message !== undefined || emissions > 0) continue
    sw.datapath.offline()
    reclaim(arena)
    const next = Math.min(sw.nextTimer, ports.nextFrame)
    sleep(arena.m, q, seen, Math.max(0, Math.min(NAP, (next - clock()) / 1e6)))
    sw.datapath.online()
  }
  ports.close()
  journal.close()
  sw.close()
  leave(arena)
}

/** A port comes or goes. */
function changePort(sw: Switch, ports: LivePorts, data: SwitchThreadData, m: PortChange): PortChanged {
  const { change: changed, number } = m
  if (m.port === null) {
    ports.remove(number)
    sw.removePort(number)
    return { changed }
  }
  const why = whyNoPort(m.port, data)
  if (why !== '') return { changed, error: why }
  let made = false
  try {
    const p = realPort(m.port)
    requireCapabilities(p)
    if (p.mtu + HEADERS > sw.datapath.maxFrame())
      return { changed, error: `its MTU is ${p.mtu}, and packet slots hold frames of ${sw.datapath.maxFrame()} bytes` }
    const dev = sw.addPort(number, p)
    made = true
    if (isLive(p) || data.workers > 0) ports.add(livePort(p, number, dev))
    return { changed }
  } catch (e) {
    if (made) sw.removePort(number)
    if (e instanceof NetlinkError) return { changed, error: e.message || `a device ${m.port.name} is there already` }
    if (e instanceof PortError || e instanceof SysError) return { changed, error: e.message, system: true }
    throw e
  }
}

/** What was decided at the start and does not suit a port that comes later; '' nothing. */
function whyNoPort(p: PortConfig, data: SwitchThreadData): string {
  if (isLive(p) && data.workers === 0)
    return 'the daemon has no datapath threads: start it with a live port, or with workers'
  if (p.zerocopy && packetBytes(data.ports) === undefined)
    return 'zerocopy: packet slots are not pages: start the daemon with such a port'
  return ''
}

/**
 * The kernel's side as it is now, so that scripts find it: the notifier thread takes over from here. Without uplinks there is
 * none, and nothing of it that a journal had. Throws SysError.
 */
function mirrorOnce(control: Control, uplinks: MirrorData['uplinks'], journal: Journalled): void {
  const { mirror, notifier } = openMirror(control, { uplinks }, journal, say)
  try {
    if (uplinks.size > 0) readKernel(control, mirror, notifier)
    else notifier.forget()
  } finally {
    notifier.close()
  }
}

/** Runs the lines of a start-up script; the first that is refused is one too many. Throws ConfigError. */
function runScript(sw: Switch, path: string): void {
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
        if (printed !== '') say('info', { script: path, line: line.first, printed }, 'a script printed')
      } catch (e) {
        throw e instanceof LanguageError ? new ConfigError(`${path}:${line.first}: ${e.message}`) : e
      }
    }
  } catch (e) {
    throw e instanceof LanguageError ? new ConfigError(`${path}: ${e.message}`) : e
  }
}

const say = (log: Said['log'], what: object, message: string): void => postParent({ log, what, message } satisfies Said)

const data = threadData<SwitchThreadData | undefined>()
if (data?.role === 'switch')
  try {
    open(data)
  } catch (e) {
    if (e instanceof JournalError) postParent({ failed: e.message, journal: true } satisfies Failed)
    else if (e instanceof PortError) postParent({ failed: e.message, port: e.port } satisfies Failed)
    else if (e instanceof ConfigError) postParent({ failed: e.message } satisfies Failed)
    else throw e
  }
