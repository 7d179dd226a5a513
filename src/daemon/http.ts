// The daemon's tables over HTTP: what people, scripts and Prometheus read. The only file that knows hono.
//
//   GET /metrics        Prometheus' text (metrics.ts)
//   GET /<table>        a JSON document, made when it is asked for: whoever owns the table gave a producer with `route`
//   GET /events         server-sent events, one JSON document each, from when the client came until it goes
//   GET /               the paths that there are; a page for people where their browser asks for HTML (page.ts)
//
//   POST /ports         a port is added: a JSON document, as it would stand in the configuration
//   DELETE /ports/NAME  and taken away
//
// It listens on a Unix socket of its own, with the file mode as its guard, and on a TCP address when the configuration
// names one, for a Prometheus that cannot read the socket: there everything is read only. What else changes the switch goes
// over rtnetlink.
// A client that does not read its events loses them and is told how many, nobody waits for it. Main thread.

import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { listenUnix } from '../rtnl/unix_socket.ts'

export { DEFAULT_HTTP_SOCKET } from './http_socket.ts'

/** Makes the document of a path; `query` is what stands behind the `?`. */
export type Producer = (query: Readonly<Record<string, string>>) => unknown | Promise<unknown>

/** Something that happened, for GET /events. `event` is its name, the rest its fields. */
export type HttpEvent = { readonly event: string } & Readonly<Record<string, unknown>>

export interface HttpOptions {
  /** Unix socket. */
  readonly path: string
  /** File mode of the socket, 0o660 when absent. */
  readonly mode?: number
  /** TCP address besides; port 0 takes a free one. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined
  /** The text of /metrics and its content type. */
  metrics?(): Promise<{ readonly type: string; readonly text: string }>
  /** What a browser is shown at /: a whole HTML document. */
  page?(): string
  /** Makes changes of ports; rejects with what the client is told. */
  readonly ports?: {
    add(raw: unknown): Promise<unknown>
    remove(name: string): Promise<unknown>
  }
}

export interface HttpServer {
  readonly path: string
  /** The port of the TCP address, 0 without. */
  readonly port: number
  /** From now on GET `path` answers what `producer` makes. A second call replaces it. */
  route(path: string, producer: Producer): void
  /** Tells everybody who follows /events. */
  tell(event: HttpEvent): void
  /** Somebody follows /events: whoever makes them may save the work otherwise. */
  readonly followed: boolean
  close(): Promise<void>
}

/** Events that wait for one client; more are dropped and counted. */
const BACKLOG = 1024
/** Milliseconds after which a quiet stream says that it lives. */
const HEARTBEAT = 15_000

/** One who follows /events. */
interface Follower {
  readonly queue: HttpEvent[]
  lost: number
  wake(): void
}

/** Listens. Rejects with the system's error. */
export async function serveHttp(o: HttpOptions): Promise<HttpServer> {
  const routes = new Map<string, Producer>()
  const followers = new Set<Follower>()
  const app = new Hono<{ Bindings: { incoming: { socket: { localPort?: number } } } }>()

  app.get('/', (c) => {
    if (o.page !== undefined && (c.req.header('accept') ?? '').includes('text/html')) return c.html(o.page())
    return c.json({ paths: ['/metrics', '/events', ...routes.keys()].sort() })
  })
  app.get('/metrics', async (c) => {
    if (o.metrics === undefined) return c.notFound()
    const { type, text } = await o.metrics()
    return c.body(text, 200, { 'content-type': type })
  })
  app.get('/events', (c) => streamSSE(c, (stream) => follow(followers, stream)))
  app.get('*', async (c) => {
    const producer = routes.get(c.req.path)
    if (producer === undefined) return c.json({ error: `there is no ${c.req.path}` }, 404)
    return c.json(await producer(c.req.query()))
  })
  // A socket that has a port is no Unix socket.
  const { ports } = o
  if (ports !== undefined) {
    app.post('/ports', async (c, next) => {
      if (c.env.incoming.socket.localPort !== undefined) return next()
      return c.json((await ports.add(await c.req.json())) ?? {})
    })
    app.delete('/ports/:name', async (c, next) => {
      if (c.env.incoming.socket.localPort !== undefined) return next()
      return c.json((await ports.remove(c.req.param('name'))) ?? {})
    })
  }
  app.all('*', (c) => c.json({ error: `${c.req.method}: everything here is read with GET` }, 405))
  // 400: what was asked for is not there to be asked. 422: the change cannot be made, with the name of the error for
  // programs.
  app.onError((e, c) => {
    if (c.req.method !== 'GET') return c.json({ error: e.message, name: e.name }, 422)
    return c.json({ error: e.message }, e.name === 'QueryError' ? 400 : 500)
  })

  const servers: Server[] = []
  const make = (): Server => {
    const server = createAdaptorServer({ fetch: app.fetch }) as Server
    servers.push(server)
    return server
  }
  const close = async (): Promise<void> => {
    for (const f of followers) f.wake()
    await Promise.all(
      servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            server.closeAllConnections()
          }),
      ),
    )
  }
  let port = 0
  await listenUnix(make(), o.path, o.mode ?? 0o660)
  if (o.listen !== undefined)
    try {
      port = await listenTcp(make(), o.listen.host, o.listen.port)
    } catch (e) {
      servers.pop()
      await close()
      throw e
    }
  return {
    path: o.path,
    port,
    route: (path, producer) => void routes.set(path, producer),
    tell(event) {
      for (const f of followers) {
        if (f.queue.length < BACKLOG) f.queue.push(event)
        else f.lost++
        f.wake()
      }
    },
    get followed() {
      return followers.size > 0
    },
    close,
  }
}

/** What streamSSE hands to its callback, as far as it is used. */
interface EventStream {
  readonly aborted: boolean
  readonly closed: boolean
  onAbort(f: () => void): void
  writeSSE(m: { event?: string; data: string }): Promise<void>
}

/** Sends events until the client or the server ends. */
async function follow(followers: Set<Follower>, stream: EventStream): Promise<void> {
  let wake = (): void => {}
  const self: Follower = { queue: [], lost: 0, wake: () => wake() }
  followers.add(self)
  stream.onAbort(() => wake())
  // The first bytes make the client's headers arrive.
  await stream.writeSSE({ event: 'hello', data: '{}' })
  try {
    while (!stream.aborted && !stream.closed) {
      if (self.queue.length === 0) {
        const quiet = await waitForWake((f) => {
          wake = f
        })
        if (quiet) await stream.writeSSE({ event: 'alive', data: '{}' })
        continue
      }
      const { event, ...fields } = self.queue.shift() as HttpEvent
      await stream.writeSSE({ event, data: JSON.stringify(fields) })
      if (self.lost === 0) continue
      const lost = self.lost
      self.lost = 0
      await stream.writeSSE({ event: 'lost', data: JSON.stringify({ events: lost }) })
    }
  } finally {
    followers.delete(self)
  }
}

/** Resolves with false when woken, with true when nothing happened for the length of a heartbeat. */
function waitForWake(set: (wake: () => void) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), HEARTBEAT)
    set(() => {
      clearTimeout(timer)
      resolve(false)
    })
  })
}

function listenTcp(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve((server.address() as { port: number }).port)
    })
  })
}
