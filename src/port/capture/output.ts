// Bytes on their way into a file: a buffer that is written out when it is full.
//
// Frames are copied from memory that may be shared and are at any alignment, where TypedArray.set falls back to single
// bytes: up to 128 bytes, four bytes at a time through DataViews is faster (output.bench.ts).
import { closeSync, openSync, writeSync } from 'node:fs'

export interface Output {
  readonly path: string
  readonly fd: number
  readonly bytes: Uint8Array
  readonly d: DataView
  end: number
  /** Bytes written out already. */
  flushed: number
}

const SIZE = 1 << 20

/** Creates the file, or empties it. */
export function openOutput(path: string, size = SIZE): Output {
  const bytes = new Uint8Array(size)
  return { path, fd: openSync(path, 'w'), bytes, d: new DataView(bytes.buffer), end: 0, flushed: 0 }
}

/** Room for `n` bytes from `end`. */
export function room(o: Output, n: number): void {
  if (o.end + n > o.bytes.length) flush(o)
}

/** Appends `n` bytes at `from` of the source; `room` was called. */
export function append(o: Output, source: Uint8Array, view: DataView, from: number, n: number): void {
  const end = o.end
  if (n > 128) o.bytes.set(source.subarray(from, from + n), end)
  else {
    let i = 0
    for (; i + 4 <= n; i += 4) o.d.setInt32(end + i, view.getInt32(from + i, true), true)
    for (; i < n; i++) o.bytes[end + i] = source[from + i]
  }
  o.end = end + n
}

export function flush(o: Output): void {
  for (let at = 0; at < o.end; ) at += writeSync(o.fd, o.bytes, at, o.end - at)
  o.flushed += o.end
  o.end = 0
}

export function closeOutput(o: Output): void {
  flush(o)
  closeSync(o.fd)
}
