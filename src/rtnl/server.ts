// The rtnetlink server: a Unix socket on which clients ask and change a switch as they would a kernel.
//
// `serve` listens; each connection is a Session (session.ts), framed as frame.ts says. Requests go to an executor, a
// session's in their order, and what they change is told to the groups by `tell` before the answer goes out, as a kernel
// does. It knows nothing of switches: it hands datagrams over and answers back. `here` is the executor for who has no
// other threads. One thread; the daemon's main.

import { createServer } from 'node:net'
import { Answering } from './answering.ts'
import type { Requester } from './datagram.ts'
import { groupOf } from './groups.ts'
import { type Asker, type Executor, Session } from './session.ts'
import { listenUnix } from './unix_socket.ts'

export interface ServeOptions {
  /** Path of the socket. */
  readonly path: string
  /** File mode of the socket, 0o660 when absent. */
  readonly mode?: number
  /** Connections at a time; further ones are closed at once. */
  readonly clients?: number
  /** Milliseconds after which a client that reads nothing of a full backlog is closed. */
  readonly stallMs?: number
  /** Does the requests. */
  readonly executor: Executor
  /** The set of groups that somebody is in has changed; notifications of others need not be made. */
  listening?(groups: ReadonlySet<number>): void
  /** A connection ended, and why. */
  closed?(why: string): void
}

export interface RtnlServer {
  readonly path: string
  readonly sessions: ReadonlySet<Session>
  /** Tells a notification to those who are in its group, but for the session `except`. */
  tell(message: Uint8Array, except?: number): void
  /** Takes the socket away, answers what was asked (for DRAIN_MS at most), and ends all connections. */
  close(): Promise<void>
}

/** Port ids of clients that never say theirs: above every process id. */
const NAMELESS = 0x8000_0000
const LOOKS = 6
/** How long the end waits for answers, and how often it looks, ms. */
const DRAIN_MS = 3000
const DRAIN_LOOK = 10

/** Listens. Rejects with the system's error: EADDRINUSE when another daemon answers at the path, EACCES, … */
export async function serve(o: ServeOptions): Promise<RtnlServer> {
  const sessions = new Set<Session>()
  let last = 0
  const groupsChanged = (): void => {
    o.listening?.(new Set([...sessions].flatMap((s) => [...s.groups])))
  }
  // Nothing is read before somebody has it: this thread, or the one it is lent to.
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    if (sessions.size >= (o.clients ?? 512)) {
      socket.on('error', () => {})
      socket.destroy()
      o.closed?.('too many clients')
      return
    }
    const events = {
      groupsChanged,
      closed: (s: Session, why: string) => {
        sessions.delete(s)
        if (s.groups.size > 0) groupsChanged()
        o.closed?.(why)
      },
    }
    sessions.add(new Session(++last, socket, NAMELESS + last, o.executor, events))
  })
  await listenUnix(server, o.path, o.mode ?? 0o660)
  const look = setInterval(
    () => {
      for (const s of sessions) if (s.stalledFor() >= LOOKS) s.close('the client does not read')
    },
    (o.stallMs ?? 30_000) / LOOKS,
  )
  look.unref()
  return {
    path: o.path,
    sessions,
    tell(message, except = 0) {
      const group = groupOf(message)
      for (const s of sessions) if (s.id !== except && s.groups.has(group)) s.tell(message)
    },
    async close() {
      clearInterval(look)
      // Node takes the socket's file away itself.
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const s of sessions) s.drain()
      for (let ms = 0; ms < DRAIN_MS && [...sessions].some((s) => s.busy); ms += DRAIN_LOOK)
        await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK))
      for (const s of [...sessions]) s.close('the daemon ends')
      await closed
    },
  }
}

export interface Here extends Executor {
  /** As `Answering.echoTo`: whom `tell` is to leave out. */
  echoTo(message: Uint8Array): number
}

/** Does requests on this thread, at once. */
export function here(requester: Requester): Here {
  const sessions = new Map<number, Asker>()
  const answering = new Answering(requester, {
    answer: (id, datagram) => sessions.get(id)?.answer(datagram),
    done: (id) => sessions.get(id)?.done(),
    paused: (id) => sessions.get(id)?.paused(),
  })
  return {
    ask(session, datagram) {
      sessions.set(session.id, session)
      answering.ask(session.id, 0, session.port, datagram)
    },
    more: (session) => answering.more(session.id),
    gone(session) {
      sessions.delete(session.id)
      answering.gone(session.id)
    },
    echoTo: (message) => answering.echoTo(message),
  }
}
