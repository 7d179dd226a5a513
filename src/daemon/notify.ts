// What systemd is told (sd_notify(3)): datagrams of a line or two to the socket that NOTIFY_SOCKET names.
//
//   READY=1                    everything stands: the unit is started
//   WATCHDOG=1                 the daemon lives; every half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises
//   RELOADING=1, READY=1       around a reload, with the moment it began
//   STOPPING=1                 it ends in order
//
// Without the variable there is nobody to tell, and nothing happens. Node has no Unix datagram sockets: the C library's.

import { AF_UNIX, close, connect, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_DGRAM, sendto, socket } from '../sys/libc.ts'

export interface Notify {
  /** Tells one state; false when there is nobody, or nobody listens. */
  tell(state: string): boolean
  /** Milliseconds between two signs of life, 0 when none are wanted. */
  readonly watchdogMs: number
  close(): void
}

/** The one that the environment names. A socket that cannot be reached is nobody. */
export function openNotify(env: NodeJS.ProcessEnv = process.env): Notify {
  const path = env.NOTIFY_SOCKET ?? ''
  const usec = Number(env.WATCHDOG_USEC ?? 0)
  const mine = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === process.pid
  const watchdogMs = mine && Number.isFinite(usec) && usec > 0 ? Math.max(1, Math.floor(usec / 2000)) : 0
  const fd = path === '' ? -1 : reach(path)
  return {
    watchdogMs: fd < 0 ? 0 : watchdogMs,
    tell(state) {
      if (fd < 0) return false
      const bytes = Buffer.from(state)
      return sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL) === bytes.length
    },
    close() {
      if (fd >= 0) close(fd)
    },
  }
}

/** A datagram socket connected to the path (`@name` in the abstract namespace), -1 when there is none. */
function reach(path: string): number {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path)
  const address = new Uint8Array(2 + name.length)
  new DataView(address.buffer).setUint16(0, AF_UNIX, true)
  address.set(name, 2)
  let fd = -1
  try {
    fd = socket(AF_UNIX, SOCK_DGRAM, 0)
    connect(fd, address, path)
    return fd
  } catch {
    if (fd >= 0) close(fd)
    return -1
  }
}
