// Hashes: the one that control and the chip share (memory/flow_hash.ts says what it is), and the chip's own.

export const HASH_SEED: u64 = 0x243f6a8885a308d3
const K: u64 = 0x9e3779b97f4a7c15
const K2: u64 = 0xd6e8feb86659fd93

/** One word more of a flow hash. */
// @ts-ignore: decorator
@inline
export function hashWord(h: u64, word: u32): u64 {
  return (h ^ <u64>word) * K
}

// @ts-ignore: decorator
@inline
export function hashEnd(h: u64): u32 {
  return <u32>(((h ^ (h >> 32)) * K2) >> 32)
}

/** Two 64-bit words into 32 well-mixed bits. */
// @ts-ignore: decorator
@inline
export function mix(a: u64, b: u64): u32 {
  const h = (a * K) ^ (rotr<u64>(b, 29) * K2)
  return <u32>((h ^ (h >> 29)) * K >> 32)
}
