// MTUs: what a tunnel adds must fit into the underlay, or frames of full size are dropped or cut.
import { existsSync, readFileSync } from 'node:fs'
import type { PortConfig } from '../config.ts'
import { isDevice } from '../port_config.ts'
import { type Check, type Finding, ok, skipped, warning } from './check.ts'

/** Ethernet, IPv4, UDP and VXLAN around a frame: RFC 7348. */
const VXLAN4 = 50

function device(p: PortConfig, others: readonly PortConfig[]): Finding[] {
  const { device: name, mtu } = p
  const path = `/sys/class/net/${name}/mtu`
  if (!existsSync(path)) return [skipped(`there is no device ${name}`)]
  const actual = Number(readFileSync(path, 'utf8'))
  const found: Finding[] = []
  if (actual < mtu)
    found.push(
      warning(
        `${name}: the device's MTU is ${actual}, the configuration says ${mtu}`,
        `ip link set ${name} mtu ${mtu}`,
      ),
    )
  const largest = Math.max(...others.filter((o) => o !== p).map((o) => o.mtu), 0)
  if (largest > 0 && actual < largest + VXLAN4)
    found.push(
      warning(
        `${name}: MTU ${actual} has no room for frames of a port with MTU ${largest} in VXLAN (${VXLAN4} bytes more)`,
        `ip link set ${name} mtu ${largest + VXLAN4}, or a smaller MTU at the access ports`,
      ),
    )
  return found.length > 0 ? found : [ok(`${name}: MTU ${actual}`)]
}

export const mtu: Check = {
  name: 'mtu',
  about: 'MTUs of the devices behind ports, and room for a tunnel',
  run(config) {
    const ports = config.ports.filter(isDevice)
    return ports.length === 0
      ? [skipped('no port is on a device of the kernel')]
      : ports.flatMap((p) => device(p, config.ports))
  },
}
