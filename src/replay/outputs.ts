// Where the results of a replay go: a folder that gets all of them at the end, or nothing.
//
// While the replay runs they are written into a folder of its own inside the target; `publish` moves them to their names,
// `discard` takes them away. So a replay that fails in the middle leaves what was there before.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Arena } from '../memory/arena.ts'
import { type CaptureWriter, openWriter } from '../port/capture/writer.ts'

export interface Outputs {
  /** Appends a frame that lies in the arena to the capture of its port. */
  frame(port: number, address: number, length: number, time: number): void
  /** Writes a document beside the captures. */
  file(name: string, text: string): void
  publish(): void
  discard(): void
}

/** Makes the folder; throws the file system's errors, here and in `frame`, `file` and `publish`. */
export function openOutputs(dir: string, ports: readonly string[], a: Arena, nanoseconds: boolean): Outputs {
  mkdirSync(dir, { recursive: true })
  const partial = mkdtempSync(join(dir, '.partial-'))
  const names = ports.map((p) => `out-${p}.pcap`)
  const writers: CaptureWriter[] = []
  const discard = () => {
    for (const w of writers.splice(0)) w.close()
    rmSync(partial, { recursive: true, force: true })
  }
  try {
    for (const name of names)
      writers.push(openWriter(join(partial, name), { format: 'pcap', nanoseconds, source: a.u8 }))
  } catch (e) {
    discard()
    throw e
  }
  return {
    frame: (port, address, length, time) => writers[port].write(address, length, time),
    file: (name, text) => {
      writeFileSync(join(partial, name), text)
      names.push(name)
    },
    publish: () => {
      for (const w of writers.splice(0)) w.close()
      for (const name of names) renameSync(join(partial, name), join(dir, name))
      discard()
    },
    discard,
  }
}
