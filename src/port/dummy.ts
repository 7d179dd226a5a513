// dummy: a port with nothing behind it. What it is to send is counted by the device, and gone; it receives nothing.

import type { Arena } from '../memory/arena.ts'
import * as Q from '../memory/layout/queue.ts'
import type { OpenPort, PortDatapath, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { flushEach } from './queue_list.ts'

const letGo = (dp: PortDatapath, _q: number, pkt: number): void => dp.release(pkt)

export const dummyQueue: QueueDriver = {
  receive: () => 0,
  flush: (dp, q) => flushEach(dp, q, letGo),
}

export const dummy: PortDriver = {
  open: (a: Arena, port: PortSpec, workers: number, room: Room): OpenPort => ({
    ifindex: 0,
    isDevice: false,
    queues: idleQueues(a, port, workers, room, Q.DRIVER_DUMMY),
    how: 'dummy',
    missed: () => 0,
    close() {},
  }),
}

/** Queues without a descriptor, one for each worker. */
export const idleQueues = (a: Arena, port: PortSpec, workers: number, room: Room, driver: number): number[][] =>
  Array.from({ length: workers + 1 }, (_, w) => {
    const { q } = room(w, 0, 0)
    a.m[(q + Q.QUEUE_DRIVER) >> 2] = driver
    a.m[(q + Q.QUEUE_DEV) >> 2] = port.dev
    a.m[(q + Q.QUEUE_PORT) >> 2] = port.number
    a.m[(q + Q.QUEUE_FD) >> 2] = -1
    a.m[(q + Q.QUEUE_TX_FD) >> 2] = -1
    a.m[(q + Q.QUEUE_BROKEN) >> 2] = 0
    return [q]
  })
