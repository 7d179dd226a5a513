// The worker's half of every driver, by number.

import {
  DRIVER_AF_PACKET,
  DRIVER_AF_XDP,
  DRIVER_DUMMY,
  DRIVER_PCAP,
  DRIVER_RAW_IP,
  DRIVER_TAP,
} from '../memory/layout/queue.ts'
import { afPacketQueue } from './af_packet.ts'
import { afXdpQueue } from './af_xdp.ts'
import { dummyQueue } from './dummy.ts'
import { pcapQueue } from './pcap.ts'
import type { QueueDriver } from './port.ts'
import { rawIpQueue } from './raw_ip.ts'
import { tapQueue } from './tap.ts'

/** QUEUE_DRIVER to driver. A port of DRIVER_HOSTED is none: the switch thread serves it. */
export const queueDrivers: readonly (QueueDriver | undefined)[] = (() => {
  const drivers: (QueueDriver | undefined)[] = []
  drivers[DRIVER_DUMMY] = dummyQueue
  drivers[DRIVER_AF_PACKET] = afPacketQueue
  drivers[DRIVER_AF_XDP] = afXdpQueue
  drivers[DRIVER_TAP] = tapQueue
  drivers[DRIVER_RAW_IP] = rawIpQueue
  drivers[DRIVER_PCAP] = pcapQueue
  return drivers
})()
