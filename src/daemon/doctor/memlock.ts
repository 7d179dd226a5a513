// How much memory may be locked: the kernel counts AF_XDP rings and BPF maps against it.
import { readFileSync } from 'node:fs'
import { type Check, ok, warning } from './check.ts'

const NEED = 64 << 20

export const memlock: Check = {
  name: 'memlock',
  about: 'how much memory may be locked (RLIMIT_MEMLOCK)',
  run() {
    const line = /^Max locked memory\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    const limit = line?.[1] === 'unlimited' ? Infinity : Number(line?.[1] ?? 0)
    if (limit >= NEED)
      return [ok(`memory that may be locked: ${limit === Infinity ? 'unlimited' : `${limit >> 20} MiB`}`)]
    return [
      warning(
        `only ${Math.floor(limit / 1024)} KiB of memory may be locked: af_xdp ports may be refused (ENOBUFS)`,
        'ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit',
      ),
    ]
  },
}
