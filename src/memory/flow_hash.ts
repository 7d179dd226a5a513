// The hash of a flow's packed key: what finds the bucket in a mask's table.
//
// Control computes it here when a flow is inserted; the datapath computes the same in WebAssembly for every
// packet and mask (datapath/chip/classify.ts), where one step is one 64-bit multiplication:
//
//   h = SEED;  for each word w:  h = (h ^ w) * K  (mod 2^64);  h = (h ^ h >>> 32) * K2;  result h >>> 32
//
// Words are the masked words of the key in the order of the mask's pairs. A step is a bijection of the state,
// so two keys that differ in one word never collide before the last fold. datapath/chip.test.ts holds the two
// implementations together.

const K_HI = 0x9e3779b9
const K_LO = 0x7f4a7c15
const K2_HI = 0xd6e8feb8
const K2_LO = 0x6659fd93
const SEED_HI = 0x243f6a88
const SEED_LO = 0x85a308d3

/** High 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff
  const ah = a >>> 16
  const bl = b & 0xffff
  const bh = b >>> 16
  const low = Math.imul(ah, bl) + (Math.imul(al, bl) >>> 16) // below 2^32, as the next one: nothing is lost
  const high = Math.imul(al, bh) + (low & 0xffff)
  return (Math.imul(ah, bh) + (low >>> 16) + (high >>> 16)) >>> 0
}

/** Hash of `count` packed words that begin at word index `at` of `m`; an int32. */
export function hashWords(m: Int32Array, at: number, count: number): number {
  let hi = SEED_HI
  let lo = SEED_LO
  for (let i = 0; i < count; i++) {
    lo = (lo ^ m[at + i]) >>> 0
    hi = (mulHigh(lo, K_LO) + Math.imul(lo, K_HI) + Math.imul(hi, K_LO)) >>> 0
    lo = Math.imul(lo, K_LO) >>> 0
  }
  lo = (lo ^ hi) >>> 0
  return (mulHigh(lo, K2_LO) + Math.imul(lo, K2_HI) + Math.imul(hi, K2_LO)) | 0
}
