// The daemon's log: one JSON object a line, on stderr. The only file that knows pino.

import { pino } from 'pino'

export type Log = Pick<pino.Logger, 'level' | 'debug' | 'info' | 'warn' | 'error'>

export const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** A log that writes what is at least as grave as `level`. Lines are written at once: a dying process loses none. */
export const openLog = (level: (typeof LEVELS)[number]): Log =>
  pino({ level, base: undefined }, pino.destination({ dest: 2, sync: true }))
