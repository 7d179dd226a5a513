// The error of a system call: which call, about what, and why, by the names that man pages have.

import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'

const names = new Map<number, string>()
// EWOULDBLOCK and ENOTSUP are second names.
for (const [name, n] of Object.entries(constants.errno)) if (!names.has(n)) names.set(n, name)

/** EAGAIN, EPERM, …; `errno 133` for a number that has no name here. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`

/** What it means, in words, where that is known. */
const words = (errno: number): string => getSystemErrorMap().get(-errno)?.[1] ?? ''

/** A system call failed. The message reads `setsockopt PACKET_RX_RING: ENOMEM, not enough memory`. */
export class SysError extends Error {
  override readonly name = 'SysError'
  readonly call: string
  readonly errno: number
  /** The errno's name, as errors of Node have it. */
  readonly code: string

  constructor(call: string, errno: number, of?: string) {
    const why = words(errno)
    super(`${call}${of === undefined ? '' : ` ${of}`}: ${errnoName(errno)}${why === '' ? '' : `, ${why}`}`)
    this.call = call
    this.errno = errno
    this.code = errnoName(errno)
  }
}

export const EPERM = 1
export const ENOENT = 2
export const EINTR = 4
export const ENXIO = 6
export const EAGAIN = 11
export const ENOMEM = 12
export const EACCES = 13
export const EBUSY = 16
export const ENODEV = 19
export const EINVAL = 22
export const EMSGSIZE = 90
export const EOPNOTSUPP = 95
export const EAFNOSUPPORT = 97
export const ENETDOWN = 100
export const ENOBUFS = 105
