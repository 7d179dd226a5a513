// The kernel's side of a switch, for the threads that mirror it: the switch thread once, before anything refers to it, and the
// notifier thread from then on (net/mirror.ts, rtnl/notifier.ts).

import { setProbeTime } from '../encap/encap.ts'
import { Mirror } from '../net/mirror.ts'
import { Notifier, type NotifierTarget } from '../rtnl/notifier.ts'
import type { Control } from '../switch/control.ts'
import { msgType, viewOf } from '../wire/netlink.ts'
import { RTM_DELLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import type { Journalled } from './journalled.ts'
import type { Say } from './live_ports.ts'

/** What is behind which port. */
export interface MirrorData {
  /** Devices of the kernel whose neighbours and routes are the port's, and the port. */
  readonly uplinks: ReadonlyMap<string, string>
}

/**
 * A mirror on this thread, and a notifier for it. Nothing is read yet. Tunnel devices of the kernel's come and go aside of the
 * journal, which has rules of them. Throws SysError.
 */
export function openMirror(
  c: Control,
  data: MirrorData,
  journal: Journalled,
  say: Say,
): { mirror: Mirror; notifier: Notifier } {
  let changed = false
  const mirror = new Mirror(c.net, {
    ports: data.uplinks,
    refused: (what, why) => say('warn', { device: what, why }, 'a device of the kernel is not mirrored'),
    devicesChanged: () => {
      changed = true
    },
  })
  const aside = <T>(f: () => T): T => {
    let result: T
    journal.aside(() => {
      changed = false
      result = f()
      return changed
    })
    return result!
  }
  const target: NotifierTarget = {
    replace(kind, messages) {
      if (kind === 'link') aside(() => mirror.replace(kind, messages))
      else mirror.replace(kind, messages)
    },
    event(message) {
      const type = msgType(viewOf(message))
      return type === RTM_NEWLINK || type === RTM_DELLINK ? aside(() => mirror.event(message)) : mirror.event(message)
    },
  }
  return { mirror, notifier: new Notifier(target) }
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
