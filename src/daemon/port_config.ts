// From what a configuration says of a port to what the switch and a driver want to know.

import { portDrivers } from '../port/index.ts'
import { linkOf } from '../port/link.ts'
import type { PortConfig } from './config.ts'
import type { LivePort } from './live_ports.ts'

/** Slots of each worker without ports: bursts, packets that wait, what is on its way up. */
const SLOTS = 4096
/** More of them for a port that the kernel has slots of: a fill ring, a tx ring. */
const SLOTS_XDP = 2048

/** Has the port anything behind it? */
export const isLive = (p: PortConfig): boolean => p.driver !== 'dummy'

/** Is the port a device of the kernel's, so that it has the device's address and neighbours? */
export const isDevice = (p: PortConfig): boolean => p.driver === 'af_packet' || p.driver === 'af_xdp'

/** The uplinks whose neighbours and routes are the kernel's: its device, and the port. */
export const kernelUplinks = (ports: readonly PortConfig[]): ReadonlyMap<string, string> =>
  new Map(
    ports.filter((p) => isDevice(p) && p.role === 'uplink' && p.neigh === 'kernel').map((p) => [p.device, p.name]),
  )

/** A port that is a device of the kernel's has its address and MTU. */
export function realPort(p: PortConfig): PortConfig {
  if (!isDevice(p)) return p
  const link = linkOf(p.device)
  return link === undefined ? p : { ...p, mac: link.mac, mtu: link.mtu }
}

/** Packet slots of each worker. */
export const packetSlots = (ports: readonly PortConfig[]): number =>
  SLOTS + SLOTS_XDP * ports.filter((p) => p.driver === 'af_xdp').length

/** Bytes of a packet slot: a page where a NIC writes to them itself. */
export const packetBytes = (ports: readonly PortConfig[]): number | undefined =>
  ports.some((p) => p.zerocopy) ? 4096 : undefined

/** Port `number`, whose device in the switch is at `dev`. */
export const livePort = (p: PortConfig, number: number, dev: number): LivePort => ({
  driver: portDrivers.get(p.driver)!,
  spec: {
    name: p.name,
    device: p.device,
    number,
    dev,
    role: p.role,
    ownNeighbours: p.neigh === 'own',
    mtu: p.mtu,
    zeroCopy: p.zerocopy,
    captures: p.captures,
    epoch: 0n,
  },
})
