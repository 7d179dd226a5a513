// The commands of a text, as `tc -batch` reads a file: bytes in, one Command after the other out.
//
// Lines of a shape that comes up often are recognised as they stand (known_lines.ts); all others are split into words and
// parsed.

import type { Devices } from './args.ts'
import { type Command, type Given, parseCommand } from './command.ts'
import { KnownLines } from './known_lines.ts'
import { splitScript } from './line.ts'

const LINE_FEED = 0x0a
const BACKSLASH = 0x5c
const HASH = 0x23
const decoder = new TextDecoder()

export class CommandText {
  /** Number of the last line of the command that `next` gave, or refused, from 1. */
  line = 0
  readonly #text: Uint8Array
  readonly #devices: Devices
  readonly #given: Given | undefined
  readonly #known: KnownLines
  #at = 0

  /** `text` is UTF-8. What is `given` holds for all lines. */
  constructor(text: Uint8Array, devices: Devices, given?: Given) {
    this.#text = text
    this.#devices = devices
    this.#given = given
    this.#known = new KnownLines(devices, given)
  }

  /**
   * The next command, undefined at the end. Its requests are valid until the next one. Throws LanguageError for a line
   * that is none; the next call goes on behind it.
   */
  next(): Command | undefined {
    const text = this.#text
    while (this.#at < text.length) {
      const from = this.#at
      const known = this.#known.recall(text, from)
      if (known !== undefined) {
        this.#at = this.#known.end
        this.line++
        return known
      }
      const to = this.#lineEnd(from)
      this.#at = to + 1
      for (const { words } of splitScript(decoder.decode(text.slice(from, to)))) {
        const command = parseCommand(words, this.#devices, this.#given)
        this.#known.meet(text, from, to, words, command)
        return command
      }
    }
    return undefined
  }

  /** Where the line that begins at `from` ends, with the lines that a backslash joins to it. */
  #lineEnd(from: number): number {
    const text = this.#text
    for (let begin = from; ; ) {
      let comment = false
      let end = begin
      for (; end < text.length && text[end] !== LINE_FEED; end++) if (text[end] === HASH) comment = true
      this.line++
      if (end === text.length || end === begin || comment || text[end - 1] !== BACKSLASH) return end
      begin = end + 1
    }
  }
}
