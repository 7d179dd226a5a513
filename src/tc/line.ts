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

/**
 * Words that begin with a letter come back line after line: a script's own vocabulary. The few hundred that were met
 * last are kept, so that such a word costs no memory, and comparing it with a keyword is comparing two pointers.
 */
const KEPT = 1024
const kept: string[] = new Array(KEPT).fill('')
const LONGEST = 24

/** `text` from `o` to `stop`, which begins with a letter. */
function word(text: string, o: number, stop: number): string {
  const n = stop - o
  const ends = text.charCodeAt(o) | (text.charCodeAt(o + (n >> 1)) << 8) | (text.charCodeAt(stop - 1) << 16) | (n << 24)
  const i = Math.imul(ends, 0x9e3779b1) >>> 22
  if (isAt(text, o, n, kept[i])) return kept[i]
  if (isAt(text, o, n, kept[i ^ 1])) return kept[i ^ 1]
  const w = text.slice(o, stop)
  if (n > LONGEST) return w
  kept[i ^ 1] = kept[i]
  kept[i] = ownCopy(w)
  return w
}

/** A piece of a text keeps the whole text. As the name of a property it becomes the one copy that the program has. */
const ownCopy = (piece: string): string => Object.keys({ [piece]: 0 })[0]

/** What stands behind the first `action` of a line comes back too: rules that do the same end the same. */
const ENDS = 1024
const endTexts: string[] = new Array(ENDS).fill('')
const endWords: (readonly string[])[] = new Array(ENDS).fill([])

/** Takes the words of `text` from `o` to `stop` as they were split when they were met last. */
function takeEnd(text: string, o: number, stop: number): void {
  const n = stop - o
  let h = n
  for (let i = o; i < stop; i++) h = (Math.imul(h, 31) + text.charCodeAt(i)) | 0
  const place = Math.imul(h, 0x9e3779b1) >>> 22
  if (isAt(text, o, n, endTexts[place])) {
    for (const w of endWords[place]) met[count++] = w
    return
  }
  const from = count
  const end = ownCopy(text.slice(o, stop))
  take(end, 0, n, false)
  endTexts[place] = end
  endWords[place] = met.slice(from, count)
}

function isAt(text: string, o: number, n: number, word: string): boolean {
  if (word.length !== n) return false
  for (let i = 0; i < n; i++) if (word.charCodeAt(i) !== text.charCodeAt(o + i)) return false
  return true
}

/** The words of one line; empty for a blank or comment line. Refuses an unterminated quote. */
export const splitLine = (text: string): string[] => splitRange(text, 0, text.length)

/** Words of the line being split: as long as the longest line, so that a line's own array is made once, in its length. */
const met: string[] = []
let count = 0

function splitRange(text: string, from: number, to: number): string[] {
  count = 0
  const o = take(text, from, to, true)
  if (o < to) takeEnd(text, o, to)
  return met.slice(0, count)
}

/** Takes the words of a range; with `toAction` only those up to the first `action`. Gives where it stopped. */
function take(text: string, from: number, to: number, toAction: boolean): number {
  let end = to
  let o = from
  while (o < end) {
    const c = text.charCodeAt(o)
    if (c === 0x20 || c === 0x09 || c === 0x0d || c === 0x0a) {
      o++
      continue
    }
    if (c === 0x23) break
    if (c === 0x27 || c === 0x22) {
      const comment = text.indexOf('#', o)
      if (comment >= 0 && comment < end) end = comment
      const close = text.indexOf(text[o], o + 1)
      if (close < 0 || close >= end) throw new LanguageError('Unterminated quoted string', 1, text.slice(o, end), true)
      met[count++] = text.slice(o + 1, close)
      o = close + 1
      continue
    }
    let stop = o + 1
    while (stop < end) {
      const s = text.charCodeAt(stop)
      if (s <= 0x23) {
        if (s === 0x20 || s === 0x09 || s === 0x0d || s === 0x0a) break
        if (s === 0x23) {
          end = stop
          break
        }
      }
      stop++
    }
    const w = c >= 0x61 && c <= 0x7a ? word(text, o, stop) : text.slice(o, stop)
    met[count++] = w
    o = stop
    if (toAction && w === 'action') return o
  }
  return to
}

/** All lines of a script that have words. */
export function* splitScript(text: string): Generator<Line> {
  let number = 0
  for (let o = 0; o <= text.length; ) {
    const first = ++number
    let end = text.indexOf('\n', o)
    if (end < 0) end = text.length
    let words: string[]
    if (end > o && text.charCodeAt(end - 1) === 0x5c && !text.slice(o, end).includes('#')) {
      let line = text.slice(o, end)
      while (line.endsWith('\\') && !line.includes('#')) {
        if (end === text.length) throw new LanguageError('Missing continuation line', 1, line.slice(0, -1).trim(), true)
        const from = end + 1
        end = text.indexOf('\n', from)
        if (end < 0) end = text.length
        number++
        // What follows a comment sign is gone before the lines are joined.
        const next = text.slice(from, end)
        const comment = next.indexOf('#')
        line = line.slice(0, -1) + (comment >= 0 ? next.slice(0, comment) : next)
      }
      words = splitLine(line)
    } else words = splitRange(text, o, end)
    o = end + 1
    if (words.length) yield { number, first, words }
  }
}
