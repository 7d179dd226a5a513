// A client of the rtnetlink server: what an AF_NETLINK socket is to libnetlink.
//
// `openClient` connects, `ask` sends a request and collects its answer (as rtnl_talk and rtnl_dump_filter do), `join`
// subscribes to a group, and `onNews` takes what is told there. Requests are answered in order, so several may be under way.

import { connect, type Socket } from 'node:net'
import {
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  msgType,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  setMsgSeq,
  viewOf,
} from '../wire/netlink.ts'
import {
  FRAME_JOIN,
  FRAME_NETLINK,
  FRAME_OVERRUN,
  FRAME_PORT,
  type FrameError,
  FrameReader,
  frame,
  numberFrame,
} from './frame.ts'

interface Question {
  readonly seq: number
  readonly dump: boolean
  readonly ack: boolean
  readonly replies: Uint8Array[]
  resolve(replies: Uint8Array[]): void
  reject(e: Error): void
}

/** Connects to the daemon's socket. Rejects with the system's error. */
export function openClient(path: string): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(new Client(socket))
    })
  })
}

export class Client {
  /** Takes notifications of the groups joined; null: some were lost. */
  onNews: (message: Uint8Array | null) => void = () => {}
  /** Settles when the connection ends. */
  readonly ended: Promise<void>
  readonly #socket: Socket
  readonly #frames = new FrameReader()
  readonly #open: Question[] = []
  /** Sequence numbers of requests that are answered only when they are refused. */
  readonly #posted = new Set<number>()
  readonly #refusals: Uint8Array[] = []
  #seq = 0

  constructor(socket: Socket) {
    this.#socket = socket
    socket.write(numberFrame(FRAME_PORT, process.pid))
    socket.on('data', (chunk) => {
      this.#frames.push(chunk)
      try {
        for (let f = this.#frames.next(); f !== null; f = this.#frames.next()) this.#take(f.kind, f.payload)
      } catch (e) {
        socket.destroy(e as FrameError)
      }
    })
    this.ended = new Promise((resolve) => {
      let error = new Error('the daemon closed the connection')
      socket.on('error', (e) => {
        error = e
      })
      socket.on('close', () => {
        for (const q of this.#open.splice(0)) q.reject(error)
        resolve()
      })
    })
  }

  /**
   * Sends one request, whose sequence number it sets. Resolves with the whole answer: the messages of a dump and
   * NLMSG_DONE; the acknowledgement, with what came before it; a refusal; or the one object asked for.
   */
  ask(request: Uint8Array): Promise<Uint8Array[]> {
    const d = viewOf(request)
    this.#seq = (this.#seq + 1) >>> 0 || 1
    setMsgSeq(d, 0, this.#seq)
    const dump = (msgType(d) & 3) === 2 && (msgFlags(d) & NLM_F_DUMP) === NLM_F_DUMP
    const ack = (msgFlags(d) & NLM_F_ACK) !== 0
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error('the daemon closed the connection'))
        return
      }
      this.#open.push({ seq: this.#seq, dump, ack, replies: [], resolve, reject })
      this.#socket.write(frame(FRAME_NETLINK, request))
    })
  }

  /**
   * Sends a request that asks for no acknowledgement (`ip … flush` does): nothing comes back unless it is refused. Whoever
   * wants to know asks something else, and then for `refusals`.
   */
  post(request: Uint8Array): void {
    this.#seq = (this.#seq + 1) >>> 0 || 1
    setMsgSeq(viewOf(request), 0, this.#seq)
    this.#posted.add(this.#seq)
    this.#socket.write(frame(FRAME_NETLINK, request))
  }

  /** The refusals of what was posted before the last answer, which are forgotten. */
  refusals(): Uint8Array[] {
    this.#posted.clear()
    return this.#refusals.splice(0)
  }

  /** From now on notifications of this group come. */
  join(group: number): void {
    this.#socket.write(numberFrame(FRAME_JOIN, group))
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(kind: number, payload: Uint8Array): void {
    if (kind === FRAME_OVERRUN) this.onNews(null)
    if (kind !== FRAME_NETLINK) return
    const d = viewOf(payload)
    for (let o = 0; o + NLMSG_HDRLEN <= payload.length; ) {
      const length = msgLen(d, o)
      if (length < NLMSG_HDRLEN) return
      this.#message(payload.subarray(o, o + length))
      o += (length + 3) & ~3
    }
  }

  #message(m: Uint8Array): void {
    const d = viewOf(m)
    if (msgType(d) === NLMSG_ERROR && msgPid(d) === process.pid && this.#posted.has(msgSeq(d))) {
      this.#refusals.push(m)
      return
    }
    const q = this.#open[0]
    if (q === undefined || msgSeq(d) !== q.seq || msgPid(d) !== process.pid) {
      this.onNews(m)
      return
    }
    q.replies.push(m)
    const type = msgType(d)
    const last = type === NLMSG_ERROR || type === NLMSG_DONE || (!q.dump && !q.ack)
    if (!last) return
    this.#open.shift()
    q.resolve(q.replies)
  }
}
