// What the running kernel has: packet sockets, AF_XDP, TUN, and the tunnel devices of its own that can be mirrored.
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { gunzipSync } from 'node:zlib'
import { AF_PACKET, AF_XDP, close, SOCK_RAW, socket } from '../../sys/libc.ts'
import { EACCES, EAFNOSUPPORT, EPERM, SysError } from '../../sys/sys_error.ts'
import { type Check, type Finding, ok, warning } from './check.ts'

/** Is the address family there? A socket of it says so, even when it is refused. */
function family(name: string, number: number, what: string): Finding {
  try {
    close(socket(number, SOCK_RAW, 0))
  } catch (e) {
    if (!(e instanceof SysError)) throw e
    if (e.errno === EAFNOSUPPORT)
      return warning(`the kernel has no ${name}`, `no ${what} ports here; modprobe may bring it`)
    if (e.errno !== EPERM && e.errno !== EACCES) return warning(`${name}: ${e.message}`, `${what} ports may not work`)
  }
  return ok(`the kernel has ${name}`)
}

/** CONFIG_… of the running kernel, '' when it is not set, undefined when nobody can say. */
function option(name: string): string | undefined {
  const text = existsSync('/proc/config.gz')
    ? gunzipSync(readFileSync('/proc/config.gz')).toString()
    : existsSync(`/boot/config-${release()}`)
      ? readFileSync(`/boot/config-${release()}`, 'utf8')
      : undefined
  return text === undefined ? undefined : (new RegExp(`^CONFIG_${name}=(.*)$`, 'm').exec(text)?.[1] ?? '')
}

function tunnel(name: string, config: string): Finding {
  const value = option(config)
  if (value === undefined)
    return warning(
      `whether the kernel has ${name} devices is not known`,
      'no /proc/config.gz and no /boot/config to ask',
    )
  if (value === '')
    return warning(
      `the kernel has no ${name} devices`,
      `make ${name} devices in flowerbed (flowerbed ip link add … type ${name})`,
    )
  return ok(`the kernel has ${name} devices`)
}

export const kernel: Check = {
  name: 'kernel',
  about: 'what the running kernel has',
  run: () => [
    family('AF_PACKET', AF_PACKET, 'af_packet'),
    family('AF_XDP', AF_XDP, 'af_xdp'),
    existsSync('/dev/net/tun')
      ? ok('the kernel has TUN')
      : warning('there is no /dev/net/tun', 'no tap ports here: modprobe tun'),
    tunnel('vxlan', 'VXLAN'),
    tunnel('geneve', 'GENEVE'),
  ],
}
