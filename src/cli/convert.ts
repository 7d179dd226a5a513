// flowerbed convert: a capture in the other format, frames and times unchanged; or a journal as text, and back
// (convert_journal.ts).
import { existsSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { openWriter } from '../port/capture/writer.ts'
import { journalToText, textToJournal } from './convert_journal.ts'
import { UsageError } from './usage_error.ts'

/** Converts; returns the exit status. The target appears when it is whole (or as far as a damaged source goes). */
export async function convert(from: string, to: string): Promise<number> {
  if (/\.txt$/.test(to)) return journalToText(from, to)
  if (/\.txt$/.test(from)) return textToJournal(from, to)
  const format = /\.(pcap|pcapng)$/.exec(to)?.[1] as 'pcap' | 'pcapng' | undefined
  if (format === undefined)
    throw new UsageError(`${to}: the name must end in .pcap or .pcapng, or for a journal in .txt`)
  if (existsSync(to) && existsSync(from) && realpathSync(to) === realpathSync(from))
    throw new UsageError(`${to}: is the capture to convert`)
  const window = new Uint8Array(WINDOW)
  const capture = openCapture(from, { window })
  const partial = `${to}.partial-${process.pid}`
  try {
    let n = capture.next()
    const { epoch, nanoseconds } = capture
    const writer = openWriter(partial, { format, nanoseconds, source: window, epoch })
    for (; n > 0; n = capture.next())
      for (let i = 0; i < n; i++)
        writer.write(capture.frames.offset[i], capture.frames.length[i], capture.frames.time[i])
    writer.close()
    renameSync(partial, to)
  } finally {
    rmSync(partial, { force: true })
    capture.close()
  }
  if (capture.cut > 0)
    process.stderr.write(`${from}: ${capture.cut} of ${capture.count} frames were captured in part\n`)
  if (capture.damage === null) return 0
  process.stderr.write(`${from}: damaged at byte ${capture.damage.offset}: ${capture.damage.what}\n`)
  return 1
}
