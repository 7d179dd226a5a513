// The drivers of ports, by the names that a configuration has for them.

import { afPacket } from './af_packet.ts'
import { afXdp } from './af_xdp.ts'
import { dummy } from './dummy.ts'
import { pcap } from './pcap.ts'
import type { PortDriver } from './port.ts'
import { rawIp } from './raw_ip.ts'
import { tap } from './tap.ts'

export const portDrivers: ReadonlyMap<string, PortDriver> = new Map([
  ['dummy', dummy],
  ['af_packet', afPacket],
  ['af_xdp', afXdp],
  ['tap', tap],
  ['raw_ip', rawIp],
  ['pcap', pcap],
])
