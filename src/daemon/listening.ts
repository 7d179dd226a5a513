// Which multicast groups have somebody in them: two words that main writes and every thread reads, so that nobody makes
// notifications that nobody hears.

import { RTNLGRP_MAX } from '../rtnl/groups.ts'
import { load, store } from '../sync/atomic.ts'

const WORDS = (RTNLGRP_MAX + 32) >> 5

/** For one daemon. */
export const newListening = (): Int32Array => new Int32Array(new SharedArrayBuffer(WORDS * 4))

/** Main: these groups, and no others. */
export function setListening(listening: Int32Array, groups: Iterable<number>): void {
  const words = new Int32Array(WORDS)
  for (const g of groups) words[g >> 5] |= 1 << (g & 31)
  words.forEach((w, i) => {
    store(listening, i, w)
  })
}

/** Any thread: is anybody in any group? */
export function isAnyListening(listening: Int32Array): boolean {
  for (let i = 0; i < WORDS; i++) if (load(listening, i) !== 0) return true
  return false
}

/** Any thread: is anybody in this group? */
export const isListening = (listening: Int32Array, group: number): boolean =>
  (load(listening, group >> 5) & (1 << (group & 31))) !== 0
