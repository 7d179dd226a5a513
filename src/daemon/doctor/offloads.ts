// Offloads of the devices behind ports: a raw port must see frames as they are on the wire.
//
// GRO and LRO glue received frames together, beyond the MTU; TSO and GSO let the other end of a veth, or this host, hand
// over frames that were never cut; transmit checksum offload leaves a checksum for a NIC to fill in, which is not there
// on the way through a switch. All of it is asked and set by ethtool's ioctl (include/uapi/linux/ethtool.h).

import { AF_INET, addressOf, close, ifindexOf, ioctl, SOCK_DGRAM, socket } from '../../sys/libc.ts'
import { isDevice } from '../port_config.ts'
import { type Check, type Finding, ok, skipped, warning } from './check.ts'

const SIOCETHTOOL = 0x8946
const OFFLOADS = [
  { name: 'rx-gro', flag: 'gro', get: 0x2b, set: 0x2c },
  { name: 'tx-generic-segmentation', flag: 'gso', get: 0x23, set: 0x24 },
  { name: 'tx-tcp-segmentation', flag: 'tso', get: 0x1e, set: 0x1f },
  { name: 'tx-checksumming', flag: 'tx', get: 0x16, set: 0x17 },
] as const

/** struct ethtool_value { u32 cmd, data; } by struct ifreq { char name[16]; void *data; … }. */
function ethtool(name: string, command: number, data: number): number {
  const value = new Uint8Array(8)
  const v = new DataView(value.buffer)
  v.setUint32(0, command, true)
  v.setUint32(4, data, true)
  const request = new Uint8Array(40)
  request.set(Buffer.from(name))
  new DataView(request.buffer).setBigUint64(16, BigInt(addressOf(value)), true)
  const fd = socket(AF_INET, SOCK_DGRAM, 0)
  try {
    ioctl(fd, SIOCETHTOOL, request, `SIOCETHTOOL ${name}`)
  } finally {
    close(fd)
  }
  return v.getUint32(4, true)
}

function device(name: string): Finding[] {
  if (ifindexOf(name) === 0) return [skipped(`there is no device ${name}`)]
  const on = OFFLOADS.filter((o) => {
    try {
      return ethtool(name, o.get, 0) !== 0
    } catch {
      return false // the device does not know the question: it does not do it either
    }
  })
  if (on.length === 0) return [ok(`${name}: no offload is on that would spoil a raw port`)]
  return [
    warning(
      `${name}: ${on.map((o) => o.name).join(', ')} on: frames may be longer than the MTU, or without checksum`,
      `ethtool -K ${name} ${on.map((o) => `${o.flag} off`).join(' ')}`,
      () => {
        for (const o of on) ethtool(name, o.set, 0)
      },
    ),
  ]
}

export const offloads: Check = {
  name: 'offloads',
  about: 'GRO, GSO, TSO and checksum offload of the devices behind ports',
  run(config) {
    const ports = config.ports.filter(isDevice)
    return ports.length === 0
      ? [skipped('no port is on a device of the kernel')]
      : ports.flatMap((p) => device(p.device))
  },
}
