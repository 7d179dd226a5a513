// A client of the daemon's HTTP socket: tables and events, for the commands that show them.

import { type IncomingMessage, request } from 'node:http'

/** The daemon answered with a refusal; the message is its own. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal'
  /** Name of the error in the daemon, '' when it said none. */
  readonly kind: string

  constructor(message: string, kind = '') {
    super(message)
    this.kind = kind
  }
}

function send(socketPath: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'application/json', 'content-type': 'application/json' }
    const r = request({ socketPath, method, path, headers }, resolve)
    r.on('error', reject)
    r.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

const get = (socket: string, path: string): Promise<IncomingMessage> => send(socket, 'GET', path)

/** The JSON document at a path. Rejects with the system's error, or HttpRefusal. */
export const getTable = async <T>(socket: string, path: string): Promise<T> => document<T>(await get(socket, path))

/** Asks for a change: POST with a document, or DELETE. Rejects as getTable does. */
export const change = async (
  socket: string,
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> => document(await send(socket, method, path, body))

async function document<T>(answer: IncomingMessage): Promise<T> {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  if (answer.statusCode === 200) return JSON.parse(text) as T
  let why = text
  let kind = ''
  try {
    const said = JSON.parse(text) as { error: string; name?: string }
    why = said.error
    kind = said.name ?? ''
  } catch {
    // Not one of our answers: as it stands.
  }
  throw new HttpRefusal(why, kind)
}

export interface ToldEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Follows /events until the daemon ends. Heartbeats are not handed on. */
export async function* followEvents(socket: string): AsyncGenerator<ToldEvent, void> {
  const answer = await get(socket, '/events')
  answer.setEncoding('utf8')
  let text = ''
  for await (const chunk of answer) {
    text += chunk as string
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const told = parseEvent(text.slice(0, end))
      text = text.slice(end + 2)
      if (told !== null) yield told
    }
  }
}

function parseEvent(block: string): ToldEvent | null {
  let event = ''
  let data = ''
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7)
    else if (line.startsWith('data: ')) data += line.slice(6)
  }
  return event === '' || event === 'alive' ? null : { event, data: JSON.parse(data || '{}') as ToldEvent['data'] }
}
