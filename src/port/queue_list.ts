// The packets that a queue is to send, one by one: for drivers that have no call for many. A datapath worker calls it.
import * as Q from '../memory/layout/queue.ts'
import type { PortDatapath } from './port.ts'

/** Empties QUEUE_LIST, and gives each packet of it to `send`, in order. A QueueDriver's flush. */
export function flushEach(dp: PortDatapath, q: number, send: (dp: PortDatapath, q: number, pkt: number) => void): void {
  const { m } = dp.a
  const n = m[(q + Q.QUEUE_LIST_COUNT) >> 2]
  m[(q + Q.QUEUE_LIST_COUNT) >> 2] = 0
  const list = m[(q + Q.QUEUE_LIST) >> 2] >> 2
  for (let i = 0; i < n; i++) send(dp, q, m[list + i])
}
