// Sockets that are open on what is ours and take nothing. The kernel sees what a packet socket sees, and what a raw socket
// gets, and would answer "port unreachable" for a tunnel that it does not know: so it finds somebody there.

import {
  AF_INET,
  AF_INET6,
  addressOf,
  bind,
  close,
  SO_ATTACH_FILTER,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_SOCKET,
  setOption,
  setOptionInt,
  socket,
} from '../sys/libc.ts'
import { SysError } from '../sys/sys_error.ts'
import type { DeviceFilter } from './endpoints.ts'

const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26

/** Attaches a classic BPF program: struct sock_fprog points to it. */
export function attachProgram(fd: number, program: Uint8Array): void {
  const d = new DataView(new ArrayBuffer(16))
  d.setUint16(0, program.length / 8, true)
  d.setBigUint64(8, BigInt(addressOf(program)), true)
  setOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, new Uint8Array(d.buffer), 'SO_ATTACH_FILTER')
}

/** `ret 0`: nothing gets in. */
const NOTHING = Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0)

/** Opens sockets on what is ours, and closes those on what is no longer: the kernel finds somebody there. */
export function guard(guards: Map<string, number>, f: DeviceFilter): void {
  const wanted = new Map<string, () => number>()
  for (const port of f.udp)
    for (const family of [AF_INET, AF_INET6]) wanted.set(`udp ${port} ${family}`, () => guardUdp(family, port))
  for (const p of f.protocols)
    for (const family of [AF_INET, AF_INET6]) wanted.set(`ip ${p} ${family}`, () => socket(family, SOCK_RAW, p))
  for (const [key, fd] of guards) {
    if (wanted.delete(key)) continue
    close(fd)
    guards.delete(key)
  }
  for (const [key, open] of wanted) {
    try {
      const fd = open()
      attachProgram(fd, NOTHING)
      guards.set(key, fd)
    } catch (e) {
      // Somebody else listens there, or the kernel has no such family: it will not answer for us either way.
      if (!(e instanceof SysError)) throw e
    }
  }
}

function guardUdp(family: number, port: number): number {
  const fd = socket(family, SOCK_DGRAM, 0)
  try {
    if (family === AF_INET6) setOptionInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY')
    const d = new DataView(new ArrayBuffer(family === AF_INET ? 16 : 28))
    d.setUint16(0, family, true)
    d.setUint16(2, port)
    bind(fd, new Uint8Array(d.buffer), `UDP port ${port}`)
    return fd
  } catch (e) {
    close(fd)
    throw e
  }
}

/** Gives them all up. */
export function closeGuards(guards: Map<string, number>): void {
  for (const fd of guards.values()) close(fd)
  guards.clear()
}
