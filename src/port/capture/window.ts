// The piece of a file that is in memory: a window that slides over it.
//
//   bytes   0 ......... start ============== end ......... bytes.length
//                       ^ byte `at` of the file
//
// A reader takes bytes from `start`; `fill` makes sure of the next so many, moving what is left to the front
// and reading a large piece behind it. Plain synchronous reads: the page cache is faster than any callback.
import { openSync, readSync } from 'node:fs'

export interface Window {
  readonly path: string
  readonly fd: number
  readonly bytes: Uint8Array
  readonly d: DataView
  start: number
  end: number
  /** Offset in the file of the byte at `start`. */
  at: number
  eof: boolean
}

export function openWindow(path: string, bytes: Uint8Array): Window {
  const d = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { path, fd: openSync(path, 'r'), bytes, d, start: 0, end: 0, at: 0, eof: false }
}

/** Makes `want` bytes available from `start` (want <= the window); returns how many there are, fewer only at the end of the file. */
export function fill(w: Window, want: number): number {
  if (w.end - w.start >= want || w.eof) return w.end - w.start
  if (w.start > 0) {
    w.bytes.copyWithin(0, w.start, w.end)
    w.end -= w.start
    w.start = 0
  }
  while (w.end < want) {
    const n = readSync(w.fd, w.bytes, w.end, w.bytes.length - w.end, null)
    if (n === 0) {
      w.eof = true
      break
    }
    w.end += n
  }
  return w.end
}

/** Goes on by `n` bytes, which need not be in the window. Returns how many of them the file has. */
export function skip(w: Window, n: number): number {
  let left = n
  while (left > 0) {
    const there = Math.min(left, fill(w, 1))
    if (there === 0) break
    w.start += there
    w.at += there
    left -= there
  }
  return n - left
}
