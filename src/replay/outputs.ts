// Where the results of a replay go: a folder that gets all of them at the end, or nothing.
//
// While the replay runs they are written into a folder of its own inside the target; `publish` moves them to their names,
// `discard` takes them away. So a replay that fails in the middle leaves what was there before.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Arena, reserve } from '../memory/arena.ts'
import { RECORD_SIZE } from '../memory/layout/record.ts'
import { ArenaWriter } from '../port/capture/arena_writer.ts'
import type { Recorder } from '../switch/switch.ts'

export interface Outputs {
  /** Appends a frame that lies in the arena to the capture of its port. */
  frame(port: number, address: number, length: number, time: number): void
  /** The captures again, as a switch fills them by itself. */
  readonly recorder: Recorder
  /** What it has filled in: frames and bytes of a port. */
  recorded(port: number): { packets: number; bytes: number }
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
  const writers: ArenaWriter[] = []
  const records = reserve(a, ports.length * RECORD_SIZE)
  const discard = () => {
    for (const w of writers.splice(0)) w.close()
    rmSync(partial, { recursive: true, force: true })
  }
  try {
    for (const [port, name] of names.entries())
      writers.push(new ArenaWriter(a, join(partial, name), nanoseconds, records + port * RECORD_SIZE))
  } catch (e) {
    discard()
    throw e
  }
  return {
    frame: (port, address, length, time) => writers[port].write(address, length, time),
    recorder: { records, unit: nanoseconds ? 1 : 1000, full: (port) => writers[port].flush() },
    recorded: (port) => writers[port].recorded,
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
