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
  /** What to wait for before more frames come: the file system is behind. Null: nothing. */
  readonly behind: Promise<void> | null
  publish(): Promise<void>
  discard(): Promise<void>
}

/** Makes the folder; throws the file system's errors, here and in `frame`, `file` and `publish`. */
export function openOutputs(dir: string, ports: readonly string[], a: Arena, nanoseconds: boolean): Outputs {
  mkdirSync(dir, { recursive: true })
  const partial = mkdtempSync(join(dir, '.partial-'))
  const names = ports.map((p) => `out-${p}.pcap`)
  const writers: ArenaWriter[] = []
  const records = reserve(a, ports.length * RECORD_SIZE)
  /** Closes every capture, and then says what went wrong with one of them. */
  const close = async () => {
    for (const c of await Promise.allSettled(writers.splice(0).map((w) => w.close())))
      if (c.status === 'rejected') throw c.reason
  }
  const discard = async () => {
    await close().catch(() => {})
    rmSync(partial, { recursive: true, force: true })
  }
  try {
    for (const [port, name] of names.entries())
      writers.push(new ArenaWriter(a, join(partial, name), nanoseconds, records + port * RECORD_SIZE))
  } catch (e) {
    void discard()
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
    get behind() {
      const waiting = writers.flatMap((w) => w.behind ?? [])
      return waiting.length === 0 ? null : Promise.all(waiting).then(() => {})
    },
    publish: async () => {
      await close()
      for (const name of names) renameSync(join(partial, name), join(dir, name))
      await discard()
    },
    discard,
  }
}
