// A device of the kernel's, as ioctl tells of it: number, address, MTU, flags, driver, channels, offloads
// (netdevice(7), <linux/ethtool.h>). In the network namespace of the thread that calls.

import { AF_INET, addressOf, close, ifindexOf, ioctl, SOCK_DGRAM, socket } from '../sys/libc.ts'
import { ENODEV, EOPNOTSUPP, SysError } from '../sys/sys_error.ts'

const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCGIFMTU = 0x8921
const SIOCSIFMTU = 0x8922
const SIOCGIFHWADDR = 0x8927
const SIOCETHTOOL = 0x8946

const ETHTOOL_GDRVINFO = 0x03
const ETHTOOL_STSO = 0x1f
const ETHTOOL_GGRO = 0x2b
const ETHTOOL_SGRO = 0x2c
const ETHTOOL_GCHANNELS = 0x3c

const IFF_UP = 1
const IFF_RUNNING = 0x40
const IFNAMSIZ = 16
const ARPHRD_ETHER = 1

export interface Link {
  readonly ifindex: number
  readonly mac: Uint8Array
  readonly mtu: number
  readonly up: boolean
  /** Set up, and there is a carrier. */
  readonly running: boolean
  readonly ethernet: boolean
}

/** struct ifreq: a name, and 24 bytes of something. */
function request(device: string): { readonly bytes: Uint8Array; readonly d: DataView } {
  const bytes = new Uint8Array(40)
  bytes.set(new TextEncoder().encode(device).subarray(0, IFNAMSIZ - 1))
  return { bytes, d: new DataView(bytes.buffer) }
}

/** Asks on a socket of any family. */
function ask(device: string, number: number, name: string, fill?: (d: DataView) => void): DataView {
  const fd = socket(AF_INET, SOCK_DGRAM, 0)
  try {
    const { bytes, d } = request(device)
    fill?.(d)
    ioctl(fd, number, bytes, `${name} ${device}`)
    return d
  } finally {
    close(fd)
  }
}

/** The device; undefined when there is none of that name. @throws SysError */
export function linkOf(device: string): Link | undefined {
  const ifindex = ifindexOf(device)
  if (ifindex === 0) return undefined
  try {
    const flags = ask(device, SIOCGIFFLAGS, 'SIOCGIFFLAGS').getUint16(IFNAMSIZ, true)
    const mtu = ask(device, SIOCGIFMTU, 'SIOCGIFMTU').getInt32(IFNAMSIZ, true)
    const address = ask(device, SIOCGIFHWADDR, 'SIOCGIFHWADDR')
    return {
      ifindex,
      mac: new Uint8Array(address.buffer, IFNAMSIZ + 2, 6).slice(),
      mtu,
      up: (flags & IFF_UP) !== 0,
      running: (flags & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING),
      ethernet: address.getUint16(IFNAMSIZ, true) === ARPHRD_ETHER,
    }
  } catch (e) {
    // It went away between two questions.
    if (e instanceof SysError && e.errno === ENODEV) return undefined
    throw e
  }
}

/** Sets a device up or down. @throws SysError */
export function setUp(device: string, up = true): void {
  const flags = ask(device, SIOCGIFFLAGS, 'SIOCGIFFLAGS').getUint16(IFNAMSIZ, true)
  const next = up ? flags | IFF_UP : flags & ~IFF_UP
  ask(device, SIOCSIFFLAGS, 'SIOCSIFFLAGS', (d) => d.setUint16(IFNAMSIZ, next, true))
}

/** @throws SysError */
export function setMtu(device: string, mtu: number): void {
  ask(device, SIOCSIFMTU, 'SIOCSIFMTU', (d) => d.setInt32(IFNAMSIZ, mtu, true))
}

/** One ethtool command; undefined when the device knows it not. */
function ethtool(device: string, command: number, bytes: number, value = 0): DataView | undefined {
  const buffer = new Uint8Array(bytes)
  const d = new DataView(buffer.buffer)
  d.setUint32(0, command, true)
  d.setUint32(4, value, true)
  try {
    ask(device, SIOCETHTOOL, `SIOCETHTOOL 0x${command.toString(16)}`, (r) =>
      r.setBigUint64(IFNAMSIZ, BigInt(addressOf(buffer)), true),
    )
    return d
  } catch (e) {
    if (e instanceof SysError && e.errno === EOPNOTSUPP) return undefined
    throw e
  }
}

/** The device's driver (`veth`, `mlx5_core`), '' when it does not say. @throws SysError */
export function driverOf(device: string): string {
  const d = ethtool(device, ETHTOOL_GDRVINFO, 196)
  if (d === undefined) return ''
  const name = new Uint8Array(d.buffer, 4, 32)
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)))
}

/** Receive queues in use. @throws SysError */
export function receiveQueues(device: string): number {
  const d = ethtool(device, ETHTOOL_GCHANNELS, 36)
  // max_rx max_tx max_other max_combined, then the same as they are set.
  return d === undefined ? 1 : Math.max(1, d.getUint32(20, true) + d.getUint32(32, true))
}

/** Does the kernel join packets that it receives on the device (GRO)? @throws SysError */
export const joinsReceived = (device: string): boolean =>
  (ethtool(device, ETHTOOL_GGRO, 8)?.getUint32(4, true) ?? 0) !== 0

/** Tells it to, or not to. Nothing where the device has no such switch. @throws SysError */
export function setJoinsReceived(device: string, joins: boolean): void {
  if (joinsReceived(device) !== joins) ethtool(device, ETHTOOL_SGRO, 8, joins ? 1 : 0)
}

/** What the kernel sends by the device is in segments already (no TSO): it leaves none of that to it. @throws SysError */
export const sendSegments = (device: string): void => {
  ethtool(device, ETHTOOL_STSO, 8, 0)
}
