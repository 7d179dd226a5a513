// What main and the threads that do requests write to each other: rows of records, so that one message of the platform
// carries whatever has come together since the last one.
//
//   +------+---------+--------+------+--------+-----------------------+
//   | kind | session | number | port | length | payload, to whole words …   next record
//   +------+---------+--------+------+--------+-----------------------+
//
//   to a thread   ASK      a datagram of a session, as number `number`, from port id `port`
//                 MORE     the session takes more of its answer
//                 GONE     the session is no more
//                 TABLE    a table (tables/) is asked for, as number `number`: its name and query, as JSON
//                 LEND     a session's connection, as number `number`: its descriptor (lent.ts)
//                 RECALL   the connection is wanted back
//   to main       ANSWER   a datagram of an answer to the session; here and below `port` is the record of the journal that
//                          must be safe before (journal_sync.ts)
//                 PAUSED   there is more of it, after MORE
//                 DONE     datagram `number` of the session is answered
//                 NEWS     a notification for the groups; the session, if any, has it in its answer
//                 TABLE    the table, or the error, as JSON
//                 NAMED    the client of a lent connection has port id `port`
//                 STUCK    it does not read
//                 BACK     the connection is main's again; the payload is what it sent and nobody has looked at

export const ASK = 1
export const MORE = 2
export const GONE = 3
export const ANSWER = 4
export const PAUSED = 5
export const DONE = 6
export const NEWS = 7
export const TABLE = 8
export const LEND = 9
export const RECALL = 10
export const NAMED = 11
export const STUCK = 12
export const BACK = 13

const HEADER = 5
const FIRST = 4096
const NOTHING = new Uint8Array(0)

/** Records that wait for the post. */
export class Post {
  #words = new Int32Array(FIRST)
  #bytes = new Uint8Array(this.#words.buffer)
  #at = 0

  add(kind: number, session: number, number = 0, port = 0, payload: Uint8Array = NOTHING): void {
    const end = this.#at + HEADER + ((payload.length + 3) >> 2)
    if (end > this.#words.length) this.#grow(end)
    const w = this.#words
    w[this.#at] = kind
    w[this.#at + 1] = session
    w[this.#at + 2] = number
    w[this.#at + 3] = port
    w[this.#at + 4] = payload.length
    this.#bytes.set(payload, (this.#at + HEADER) * 4)
    this.#at = end
  }

  /** Bytes that wait. */
  get size(): number {
    return this.#at * 4
  }

  /** Takes all of it, as one message; null when there is nothing. */
  take(): Uint8Array | null {
    if (this.#at === 0) return null
    const message = this.#bytes.slice(0, this.#at * 4)
    this.#at = 0
    return message
  }

  #grow(least: number): void {
    const words = new Int32Array(Math.max(least, this.#words.length * 2))
    words.set(this.#words.subarray(0, this.#at))
    this.#words = words
    this.#bytes = new Uint8Array(words.buffer)
  }
}

/** Reads the records of a message in order. The payload is a view of it. */
export function readPost(
  message: Uint8Array,
  each: (kind: number, session: number, number: number, port: number, payload: Uint8Array) => void,
): void {
  const w = new Int32Array(message.buffer, message.byteOffset, message.byteLength >> 2)
  for (let at = 0; at < w.length; ) {
    const length = w[at + 4]
    const from = (at + HEADER) * 4
    each(w[at], w[at + 1], w[at + 2], w[at + 3] >>> 0, message.subarray(from, from + length))
    at += HEADER + ((length + 3) >> 2)
  }
}
