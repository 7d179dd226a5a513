// What a filter matches, between the request and the table: full key and mask, then packed.
//
// The match catalogue writes key and mask bytes here (memory/layout/flow_key.ts); `pack` boils them down to what a mask
// and its flows keep: the words that the mask looks at, in order of offset, and the key's masked words and their hash.
// Each user of a scratch has its own, for each thread, filled and used up within one request.

import { hashWords } from '../memory/flow_hash.ts'
import { FLOW_KEY_WORDS_INLINE, MASK_PAIRS, MASK_SIZE, MASK_SIZE_LARGE } from '../memory/layout/flow.ts'
import { KEY_ENC_OPTS_LEN, KEY_SIZE, KEY_SIZE_OPTS } from '../memory/layout/flow_key.ts'

const WORDS = KEY_SIZE_OPTS / 4

export interface MatchScratch {
  readonly key: Uint8Array
  readonly mask: Uint8Array
  readonly key32: Int32Array
  readonly mask32: Int32Array
  /** How many words the mask looks at; of each: its offset in the key, the bits, the key's masked word. */
  count: number
  readonly offsets: Int32Array
  readonly bits: Int32Array
  readonly words: Int32Array
  /** Hash of `words`, as FLOW_HASH. */
  hash: number
  /** As MASK_HASH. */
  maskHash: number
  /** As MASK_GROUPS and MASK_FLAGS. */
  groups: number
  maskFlags: number
  /** As FLOW_RANGE, FLOW_RANGE_DST. */
  rangeSrc: number
  rangeDst: number
  /** Key words with bits outside the mask, for FLOW_RAW: offset, word. */
  rawCount: number
  readonly raw: Int32Array
}

export function matchScratch(): MatchScratch {
  const key = new ArrayBuffer(KEY_SIZE_OPTS)
  const mask = new ArrayBuffer(KEY_SIZE_OPTS)
  return {
    key: new Uint8Array(key),
    mask: new Uint8Array(mask),
    key32: new Int32Array(key),
    mask32: new Int32Array(mask),
    count: 0,
    offsets: new Int32Array(WORDS),
    bits: new Int32Array(WORDS),
    words: new Int32Array(WORDS),
    hash: 0,
    maskHash: 0,
    groups: 0,
    maskFlags: 0,
    rangeSrc: 0,
    rangeDst: 0,
    rawCount: 0,
    raw: new Int32Array(2 * WORDS),
  }
}

/** Empty: matches every packet of the protocol. */
export function clearScratch(s: MatchScratch): void {
  s.key32.fill(0)
  s.mask32.fill(0)
  s.rangeSrc = 0
  s.rangeDst = 0
  s.maskFlags = 0
}

/** From key and mask bytes (and ranges) to everything else. */
export function pack(s: MatchScratch): void {
  const { key32, mask32, offsets, bits, words, raw } = s
  let n = 0
  let rawWords = 0
  let groups = 0
  let maskHash = s.maskFlags
  const end = s.mask[KEY_ENC_OPTS_LEN] === 0 ? KEY_SIZE / 4 : WORDS // without tunnel options the rest is zero
  for (let w = 0; w < end; w++) {
    const mask = mask32[w]
    const key = key32[w]
    if (mask !== 0) {
      offsets[n] = w * 4
      bits[n] = mask
      words[n++] = key & mask
      groups |= 1 << (w >> 4)
      maskHash = Math.imul(maskHash ^ mask ^ (w << 24), 0x9e3779b1)
      maskHash ^= maskHash >>> 15
    }
    if ((key & ~mask) !== 0) {
      raw[rawWords++] = w * 4
      raw[rawWords++] = key
    }
  }
  s.count = n
  s.groups = groups
  s.maskHash = maskHash
  s.rawCount = rawWords >> 1
  s.hash = hashWords(words, 0, n)
}

/** Bytes of a mask with so many words. */
export const maskSize = (words: number): number => (MASK_PAIRS + words * 8 <= MASK_SIZE ? MASK_SIZE : MASK_SIZE_LARGE)

/** Does a packed key of so many words stand inside the flow? */
export const keyInline = (words: number): boolean => words <= FLOW_KEY_WORDS_INLINE
