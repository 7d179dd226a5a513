// Size classes of the pool: how many bytes an object really gets, and the table of shared free lists.
//
// Whole cache lines from 64 bytes on: every number of lines up to 10, steps of at most a quarter up to a page, then two
// to each doubling. The large ones are a power of two and one line more, because a hash table is a power of two of
// buckets and a small header. Class COUNTER_CLASS holds counter ids (counters.ts).

const sizes: number[] = [16, 32]
for (let n = 64; n <= 512; n += 64) sizes.push(n)
for (const n of [576, 640, 768, 896, 1024, 1088]) sizes.push(n)
for (let n = 1280; n <= 4096; n += 256) sizes.push(n)
for (let n = 4096; n <= 1 << 29; n *= 2) sizes.push(n + 64, n * 1.5)

/** Bytes of class c. */
export const classSize: Int32Array = Int32Array.from(sizes)
/** Classes of memory: 0 .. SIZE_CLASSES - 1. */
export const SIZE_CLASSES = sizes.length
/** The class of counter ids. */
export const COUNTER_CLASS = SIZE_CLASSES
export const CLASSES = SIZE_CLASSES + 1

/** Up to here a table answers; above, a search of a few steps. */
const SMALL = 4096
const small = new Uint8Array(SMALL / 16 + 1)
for (let i = 0; i < small.length; i++) small[i] = sizes.findIndex((s) => s >= i * 16)

/** Objects that a thread keeps of each class at most, and how many move to or from the shared list at once. */
export const magazineMax: Int32Array = Int32Array.from([...sizes, 32], (s) => (s <= 1088 ? 62 : s <= 4096 ? 14 : 1))
export const batchSize: Int32Array = magazineMax.map((n) => (n + 1) >> 1)

/** The class of an object of `size` bytes; CLASSES when it is larger than any. */
export const classOf = (size: number): number => {
  if (size <= SMALL) return small[(size + 15) >> 4]
  let c = small[SMALL >> 4]
  while (c < SIZE_CLASSES && classSize[c] < size) c++
  return c < SIZE_CLASSES ? c : CLASSES
}

// ---- the table at SUPER_POOLS: one line for what waits for a grace period, then one line for each class
/** Futex word of lock class defer, then the first and the last bag that wait. @under defer */
export const DEFER_LOCK = 0
export const DEFER_HEAD = 4
export const DEFER_TAIL = 8
export const POOL_FIRST = 64
/** Futex word of lock class pool. @atomic */
export const POOL_LOCK = 0
/** Full batches of free objects: the first object of the first batch. @under pool */
export const POOL_BATCHES = 4
/** Where the next fresh objects are cut from, and its end. @under pool */
export const POOL_FRESH = 8
export const POOL_FRESH_END = 12
export const POOL_SIZE = 64
export const POOL_TABLE_SIZE = POOL_FIRST + CLASSES * POOL_SIZE
