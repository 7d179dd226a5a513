// The error of this folder: a port cannot be had, and why, in words that say what to do about it.

import { EACCES, EPERM, SysError } from '../sys/sys_error.ts'

/** `port p0: af_packet needs CAP_NET_RAW (socket: EPERM, operation not permitted)`. Programs exit with 3. */
export class PortError extends Error {
  override readonly name = 'PortError'
  readonly port: string

  constructor(port: string, message: string, whole = `port ${port}: ${message}`) {
    super(whole)
    this.port = port
  }
}

/** What a failed call means for a port; `capability` is what it takes to be allowed. Not for SysErrors: as they are. */
export function portError(port: string, driver: string, capability: string, e: unknown): unknown {
  if (!(e instanceof SysError)) return e
  const denied = e.errno === EPERM || e.errno === EACCES
  return new PortError(port, denied ? `${driver} needs ${capability} (${e.message})` : `${driver}: ${e.message}`)
}
