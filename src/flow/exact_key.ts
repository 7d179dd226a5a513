// A flower filter's key and mask word for word, for a snapshot (dump_request.ts says why): written from a flow, read back
// while a switch is being restored.
//
// `restoring` is this thread's: between `begin` and `end` flower takes the match of a request from here, and flows with
// the key of another one may join behind it, since `replace` can have brought two together that nobody could have added.

import type { MatchScratch } from './match_scratch.ts'

const HEADER = 2
const WORDS = 3

/** Key, as it was given, mask and ranges of an unpacked scratch. */
export function writeExactKey(s: MatchScratch): Uint8Array {
  const words = [s.rangeSrc, s.rangeDst]
  for (let i = 0; i < s.mask32.length; i++)
    if (s.mask32[i] !== 0 || s.key32[i] !== 0) words.push(i, s.key32[i], s.mask32[i])
  return new Uint8Array(Int32Array.from(words).buffer)
}

let restoring = false
let key: Int32Array | null = null

/** From now on requests are those of a snapshot; `bytes` is TCA_EXACT_KEY of the one that comes, null without. */
export function beginRestore(bytes: Uint8Array | null): void {
  restoring = true
  key = bytes === null ? null : new Int32Array(bytes.slice().buffer)
}

export function endRestore(): void {
  restoring = false
  key = null
}

/** Is a switch being made anew? Then a new flow may have the key of another one, and a u32 prio begins with its root table. */
export const isRestoring = (): boolean => restoring

/** Reads the exact key into the scratch (all zero), if there is one; says whether. */
export function readExactKey(s: MatchScratch): boolean {
  if (key === null) return false
  s.key32.fill(0)
  s.mask32.fill(0)
  s.rangeSrc = key[0]
  s.rangeDst = key[1]
  for (let i = HEADER; i + WORDS <= key.length; i += WORDS) {
    const at = key[i]
    if (at < 0 || at >= s.key32.length) continue
    s.key32[at] = key[i + 1]
    s.mask32[at] = key[i + 2]
  }
  return true
}
