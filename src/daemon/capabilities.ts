// Capabilities of this process (capabilities(7)), by name, from /proc; and giving up those that are not needed.
//
// A live port needs some of them once, when it is opened, and again when it comes back; so those of the drivers in use
// stay, and all others go, for good: no code that gets into the process by way of a packet can take them.

import { readFileSync } from 'node:fs'
import { capget, capset } from '../sys/libc.ts'

/** Numbers of include/uapi/linux/capability.h that we have to do with. */
export const CAPABILITIES: Readonly<Record<string, number>> = {
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_BPF: 39,
}

/** The effective ones, by name, as far as they have one above. */
export function effectiveCapabilities(): Set<string> {
  const line = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  const bits = BigInt(`0x${line?.[1] ?? '0'}`)
  return new Set(
    Object.entries(CAPABILITIES)
      .filter(([, n]) => bits & (1n << BigInt(n)))
      .map(([name]) => name),
  )
}

const VERSION_3 = 0x20080522

/**
 * Gives up every capability of this thread but those named, if it has them; threads that it starts from now on have no
 * others. Throws SysError.
 */
export function keepOnly(names: readonly string[]): void {
  const header = new Uint8Array(8)
  new DataView(header.buffer).setUint32(0, VERSION_3, true)
  // Two of struct { u32 effective, permitted, inheritable }: bits 0 to 31, bits 32 to 63.
  const data = new Uint8Array(24)
  capget(header, data)
  const d = new DataView(data.buffer)
  const keep = [0, 0]
  for (const name of names) {
    const n = CAPABILITIES[name]
    if (n !== undefined) keep[n >> 5] |= 1 << (n & 31)
  }
  for (let half = 0; half < 2; half++)
    for (let set = 0; set < 3; set++) {
      const o = half * 12 + set * 4
      d.setUint32(o, (d.getUint32(o, true) & keep[half]) >>> 0, true)
    }
  capset(header, data)
}
