// Capabilities of this process (capabilities(7)), by name, from /proc: what a live port may find missing.

import { readFileSync } from 'node:fs'

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
