// The daemon's clock: nanoseconds since it began, the same on all of its threads, and never going back.
//
// `performance.now()` counts from the birth of the thread that asks; what lies between that and the daemon's own begin is
// measured once.

/** The moment from which a daemon counts. */
export const beginning = (): bigint => process.hrtime.bigint()

/** When it was, in nanoseconds since 1970, as the machine's clock tells it now. */
export const epochOf = (began: bigint): bigint => BigInt(Date.now()) * 1_000_000n - (process.hrtime.bigint() - began)

/** This thread's clock, in whole nanoseconds since `began`. */
export function openClock(began: bigint): () => number {
  const offset = Number(process.hrtime.bigint() - began) - performance.now() * 1e6
  let last = 0
  return () => {
    last = Math.max(last, Math.floor(performance.now() * 1e6 + offset))
    return last
  }
}
