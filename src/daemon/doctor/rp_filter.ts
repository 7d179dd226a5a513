// Reverse path filtering: with 1 the kernel drops what comes in by a device that it would not answer by.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { isDevice } from '../port_config.ts'
import { type Check, type Finding, ok, skipped, warning } from './check.ts'

const file = (name: string): string => `/proc/sys/net/ipv4/conf/${name}/rp_filter`

function device(name: string): Finding[] {
  if (!existsSync(file(name))) return [skipped(`there is no device ${name}`)]
  const value = Math.max(Number(readFileSync(file(name), 'utf8')), Number(readFileSync(file('all'), 'utf8')))
  if (value !== 1) return [ok(`${name}: rp_filter ${value}`)]
  return [
    warning(
      `${name}: rp_filter is strict: the kernel drops ARP replies and tunnel packets that came another way`,
      `sysctl net.ipv4.conf.${name}.rp_filter=2`,
      () => writeFileSync(file(name), '2'),
    ),
  ]
}

export const rpFilter: Check = {
  name: 'rp_filter',
  about: 'reverse path filtering on the devices behind ports',
  run(config) {
    const ports = config.ports.filter(isDevice)
    return ports.length === 0
      ? [skipped('no port is on a device of the kernel')]
      : ports.flatMap((p) => device(p.device))
  },
}
