// The kernel's side of a switch, for the threads that mirror it: the switch thread once, before anything refers to it, and the
// notifier thread from then on (net/mirror.ts, rtnl/notifier.ts).

import { setProbeTime } from '../encap/encap.ts'
import { Mirror } from '../net/mirror.ts'
import { Notifier } from '../rtnl/notifier.ts'
import type { Control } from '../switch/control.ts'
import type { Say } from './live_ports.ts'

/** What is behind which port, and what may be mirrored. */
export interface MirrorData {
  /** Devices of the kernel whose neighbours and routes are the port's, and the port. */
  readonly uplinks: ReadonlyMap<string, string>
  /** The switch keeps a journal. */
  readonly journal: boolean
}

/** A journal has rules of devices by their ifindexes, and says how each device came to be: the kernel's come by themselves. */
const NO_TUNNELS = 'a journal cannot keep it: make the tunnel device in the switch'

/** A mirror on this thread, and a notifier for it. Nothing is read yet. Throws SysError. */
export function openMirror(c: Control, data: MirrorData, say: Say): { mirror: Mirror; notifier: Notifier } {
  const mirror = new Mirror(c.net, {
    ports: data.uplinks,
    ...(data.journal ? { noTunnels: NO_TUNNELS } : {}),
    refused: (what, why) => say('warn', { device: what, why }, 'a device of the kernel is not mirrored'),
  })
  return { mirror, notifier: new Notifier(mirror) }
}

/** Everything as the kernel has it now, and how fast its neighbours are to be refreshed. Throws SysError. */
export function readKernel(c: Control, mirror: Mirror, notifier: Notifier): void {
  notifier.resync()
  refreshProbeTime(c, mirror, notifier)
}

/** The least delay_first_probe_time of the devices that are mirrored, to encap/. Throws SysError. */
export function refreshProbeTime(c: Control, mirror: Mirror, notifier: Notifier): void {
  const seen = new Set(mirror.devices().map((d) => d.theirs))
  const times = notifier.probeTimes().filter((t) => seen.has(t.ifindex))
  if (times.length > 0) setProbeTime(c.net.a, Math.min(...times.map((t) => t.ms)))
}
