// Time that this thread spent on a processor: what a shared machine does not distort as it does wall time.
import { closeSync, openSync, readSync } from 'node:fs'

const buffer = Buffer.alloc(128)

function open(): number {
  try {
    return openSync('/proc/thread-self/schedstat', 'r')
  } catch {
    return -1
  }
}

/** Nanoseconds of CPU time. Of this thread where the kernel tells (Linux), else of the process. */
export function cpuTime(): number {
  const fd = open()
  if (fd < 0) {
    const { user, system } = process.cpuUsage()
    return (user + system) * 1000
  }
  const n = readSync(fd, buffer, 0, buffer.length, 0)
  closeSync(fd)
  return Number.parseInt(buffer.toString('latin1', 0, n), 10)
}
