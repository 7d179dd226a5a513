// Lines and words of a script, as `tc -batch` and `ip -batch` read them.
//
// A `#` begins a comment wherever it stands, a backslash at the very end of a line joins the next one to it, words are
// separated by blanks, and a word that begins with a quote goes to the next quote of that kind. Nothing is expanded.

import { LanguageError } from './language_error.ts'

export interface Line {
  /** Number of the line's last physical line, from 1: what tc calls "Command failed file:N". */
  readonly number: number
  /** Number of its first physical line. */
  readonly first: number
  readonly words: string[]
}

/** The words of one line; empty for a blank or comment line. Refuses an unterminated quote. */
export function splitLine(text: string): string[] {
  const words: string[] = []
  let end = text.length
  let o = 0
  while (o < end) {
    const c = text.charCodeAt(o)
    if (c === 0x20 || c === 0x09 || c === 0x0d || c === 0x0a) {
      o++
      continue
    }
    if (c === 0x23) break
    if (c === 0x27 || c === 0x22) {
      const comment = text.indexOf('#', o)
      if (comment >= 0) end = comment
      const close = text.indexOf(text[o], o + 1)
      if (close < 0 || close >= end) throw new LanguageError('Unterminated quoted string', 1, text.slice(o, end), true)
      words.push(text.slice(o + 1, close))
      o = close + 1
      continue
    }
    let stop = o + 1
    while (stop < end) {
      const s = text.charCodeAt(stop)
      if (s === 0x20 || s === 0x09 || s === 0x0d || s === 0x0a) break
      if (s === 0x23) {
        end = stop
        break
      }
      stop++
    }
    words.push(text.slice(o, stop))
    o = stop
  }
  return words
}

/** All lines of a script that have words. */
export function* splitScript(text: string): Generator<Line> {
  const physical = text.split('\n')
  for (let i = 0; i < physical.length; i++) {
    const first = i + 1
    let line = physical[i]
    if (line.endsWith('\\') && !line.includes('#')) {
      while (line.endsWith('\\') && !line.includes('#')) {
        if (i + 1 >= physical.length)
          throw new LanguageError('Missing continuation line', 1, line.slice(0, -1).trim(), true)
        // What follows a comment sign is gone before the lines are joined.
        const next = physical[++i]
        const comment = next.indexOf('#')
        line = line.slice(0, -1) + (comment >= 0 ? next.slice(0, comment) : next)
      }
    }
    const words = splitLine(line)
    if (words.length) yield { number: i + 1, first, words }
  }
}
