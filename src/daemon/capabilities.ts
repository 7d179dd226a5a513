// Capabilities (capabilities(7)): which ones a live port needs, which ones a thread has, and giving up the others.
//
// They are each thread's own. The threads that do requests and those that move packets give up all of them; the notifier keeps
// what asking the kernel takes; main and the switch thread keep what it takes to open ports, because devices come back and
// ports are added. Threads of Node itself, which compile and collect, keep what the process began with.

import { readFileSync } from 'node:fs'
import { PortError } from '../port/port_error.ts'
import { capset } from '../sys/libc.ts'
import type { PortConfig } from './config.ts'
import { kernelUplinks } from './port_config.ts'

/** Numbers of include/uapi/linux/capability.h that we have to do with. */
export const CAPABILITIES: Readonly<Record<string, number>> = {
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
}

/** What opening a port takes, by driver. A tap that was made for a user needs none: its driver says what it lacks. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  af_packet: ['CAP_NET_RAW'],
  // Without CAP_PERFMON the verifier allows no arithmetic with packet pointers, as for programs of just anybody.
  af_xdp: ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_PERFMON'],
  raw_ip: ['CAP_NET_RAW'],
}

/** What main and the switch thread go on with where there are live ports. CAP_IPC_LOCK: memory of AF_XDP is locked. */
export const FOR_PORTS: readonly string[] = ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_PERFMON', 'CAP_IPC_LOCK']
/** What the notifier goes on with: neighbours are asked for with RTM_NEWNEIGH. */
export const FOR_NOTIFIER: readonly string[] = ['CAP_NET_ADMIN']

/** This thread's effective ones, a bit each. */
function effective(): bigint {
  const line = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))
  return BigInt(`0x${line?.[1] ?? '0'}`)
}

/** The effective ones of this thread, by name, as far as they have one above. */
export function effectiveCapabilities(): Set<string> {
  const bits = effective()
  return new Set(
    Object.entries(CAPABILITIES)
      .filter(([, n]) => bits & (1n << BigInt(n)))
      .map(([name]) => name),
  )
}

/** Before the port is opened: has this thread what it takes? @throws PortError that names what is missing */
export function requireCapabilities(p: PortConfig): void {
  const has = effectiveCapabilities()
  // A kernel before 5.8 knows neither of these, and takes CAP_SYS_ADMIN for them; later ones take it still.
  if (has.has('CAP_SYS_ADMIN')) has.add('CAP_BPF').add('CAP_PERFMON')
  const needed = new Set(NEEDED[p.driver] ?? [])
  if (kernelUplinks([p]).size > 0) needed.add('CAP_NET_ADMIN')
  const missing = [...needed].filter((name) => !has.has(name))
  if (missing.length > 0)
    throw new PortError(p.name, `${p.driver} needs ${missing.join(' and ')}, which this process does not have`)
}

const HEADER_V3 = 0x20080522

/** This thread gives up all but these, for good. Returns those that it goes on with, by name. @throws SysError */
export function keepCapabilities(names: readonly string[]): string[] {
  const has = effective()
  let keep = 0n
  for (const name of names) keep |= has & (1n << BigInt(CAPABILITIES[name]))
  if (names.includes('CAP_BPF') && !(keep & (1n << BigInt(CAPABILITIES.CAP_BPF))))
    keep |= has & (1n << BigInt(CAPABILITIES.CAP_SYS_ADMIN))
  // struct __user_cap_header_struct { u32 version; int pid; }, two of { u32 effective, permitted, inheritable; }.
  const header = new Uint8Array(8)
  new DataView(header.buffer).setUint32(0, HEADER_V3, true)
  const data = new Uint8Array(24)
  const d = new DataView(data.buffer)
  for (const [i, word] of [Number(keep & 0xffffffffn), Number(keep >> 32n)].entries())
    for (const o of [0, 4]) d.setUint32(i * 12 + o, word, true)
  capset(header, data)
  return [...effectiveCapabilities()]
}
