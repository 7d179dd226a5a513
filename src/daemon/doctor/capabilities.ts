// What this process may do: CAP_NET_RAW for packet sockets, CAP_NET_ADMIN for devices and neighbours, CAP_BPF for XDP.
import { effectiveCapabilities } from '../capabilities.ts'
import { type Check, ok, warning } from './check.ts'

const WANTED = [
  ['CAP_NET_RAW', 'af_packet, af_xdp and raw_ip ports'],
  ['CAP_NET_ADMIN', 'tap and af_xdp ports, and asking the kernel for neighbours'],
  ['CAP_BPF', 'af_xdp ports'],
  ['CAP_PERFMON', 'af_xdp ports'],
] as const

export const capabilities: Check = {
  name: 'capabilities',
  about: 'what the process may do',
  run() {
    const has = effectiveCapabilities()
    return WANTED.map(([name, what]) =>
      has.has(name)
        ? ok(`${name} is there`)
        : warning(
            `${name} is missing: no ${what}`,
            `run as root, or: setcap ${name.toLowerCase()}+ep "$(readlink -f "$(which node)")", or AmbientCapabilities=${name} in the unit`,
          ),
    )
  },
}
