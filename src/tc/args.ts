// The words of one command line and a cursor over them: argc and argv of the C program, with iproute2's refusals.
//
// Commands of tc/ make one, and the parse halves of match/ and action/ take their words from it. `word` is the current
// one ("" behind the last), `skip` goes on (NEXT_ARG_FWD), `next` goes on and insists that there is one (NEXT_ARG).
// Number and address readers answer with -1, null or false when the word is none; the caller says what tc says then,
// with `fail` ("Illegal \"src_ip\"": returns to the caller in tc, exit status 1 or what the command makes of it) or
// `invarg` and its kin (tc exits on the spot with 255). One Args is reused for all lines; it holds scratch, no result.
// Control threads only.

import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import { type InetPrefix, inetPrefix, parseAddress, parseLladdr, parsePrefix } from './address_text.ts'
import { LanguageError } from './language_error.ts'
import { parseHexBytes, parseInteger, parseU64, parseUint } from './number_text.ts'

/** Who knows the devices of the switch. */
export interface Devices {
  /** The ifindex of a device, 0 when there is none of that name. */
  indexOf(name: string): number
  /** The name of a device, "if<N>" when there is none. */
  nameOf(ifindex: number): string
}

/** `matches()` of iproute2: is `prefix` a beginning of `full`, and not empty? */
export const isPrefix = (prefix: string, full: string): boolean =>
  prefix.charCodeAt(0) === full.charCodeAt(0) && (prefix === full || full.startsWith(prefix))

const NOTHING_SAID: string[] = []

export class Args {
  words: readonly string[]
  at: number
  devices: Devices
  /** What the last `prefix` or `address` read. */
  readonly inet: InetPrefix = inetPrefix()
  /** What the last `lladdr` read. */
  readonly mac: Uint8Array = new Uint8Array(32)
  /** Where `device` puts the names that it is asked for, while somebody wants to know: known_actions.ts. */
  asked: string[] | null = null

  /** What the program says on stderr although it goes on, line by line. */
  said: string[] = NOTHING_SAID

  constructor(words: readonly string[], devices: Devices, at = 0) {
    this.words = words
    this.devices = devices
    this.at = at
  }

  /** Starts over with other words. */
  set(words: readonly string[], at = 0): void {
    this.words = words
    this.at = at
    this.asked = null
    this.said = NOTHING_SAID
  }

  /** Says a line on stderr, and goes on. */
  say(line: string): void {
    this.said = [...this.said, line]
  }

  /** The current word, "" behind the last. */
  get word(): string {
    return this.at < this.words.length ? this.words[this.at] : ''
  }

  /** Is there a current word? */
  get more(): boolean {
    return this.at < this.words.length
  }

  /** argc: how many words from the current one on. */
  get left(): number {
    return this.words.length - this.at
  }

  /** The word after the current one, "" when there is none. */
  get following(): string {
    return this.at + 1 < this.words.length ? this.words[this.at + 1] : ''
  }

  /** NEXT_ARG: goes to the next word and gives it; refuses when there is none. */
  next(): string {
    if (++this.at >= this.words.length) throw this.incomplete()
    return this.words[this.at]
  }

  /** NEXT_ARG_FWD: goes on, maybe behind the last word. */
  skip(): void {
    this.at++
  }

  /** strcmp: is the current word this one? False behind the last. */
  is(full: string): boolean {
    return this.at < this.words.length && this.words[this.at] === full
  }

  /** matches(): is the current word `full` or a beginning of it? False behind the last. */
  matches(full: string): boolean {
    return this.at < this.words.length && isPrefix(this.words[this.at], full)
  }

  /** The current word as a number of at most 8 bits, -1 when it is none. Base 0 reads 0x… and 0… as C does. */
  u8(base = 0): number {
    return parseUint(this.word, base, 0xff)
  }

  u16(base = 0): number {
    return parseUint(this.word, base, 0xffff)
  }

  u32(base = 0): number {
    return parseUint(this.word, base, 0xffffffff)
  }

  /** -1n when it is none. */
  u64(base = 0): bigint {
    return parseU64(this.word, base)
  }

  /** A signed 32-bit number, NaN when it is none. */
  int(base = 0): number {
    return parseInteger(this.word, base, 0x7fffffff)
  }

  /** Reads `text` as an unsigned number up to `max`, -1 when it is none. */
  number(text: string, base: number, max: number): number {
    return parseUint(text, base, max)
  }

  /** Reads `text` as bytes in hexadecimal, null when it is none. */
  hexBytes(text: string): Uint8Array | null {
    return parseHexBytes(text)
  }

  /** Reads `text` (default: the current word) as address[/length] into `inet`. */
  prefix(family: number, text: string = this.word): boolean {
    return parsePrefix(this.inet, text, family)
  }

  /** Reads `text` (default: the current word) as an address into `inet`. */
  address(family: number, text: string = this.word): boolean {
    return parseAddress(this.inet, text, family)
  }

  /** Reads `text` (default: the current word) as a link-layer address into `mac`; how many bytes, -1 when it is none. */
  lladdr(text: string = this.word): number {
    return parseLladdr(text, this.mac)
  }

  /** get_prefix(): as `prefix`, but leaves the program when `text` is none. */
  needPrefix(family: number, text: string = this.word): InetPrefix {
    if (!parsePrefix(this.inet, text, family)) throw this.expected('prefix', family, text)
    return this.inet
  }

  /** get_addr(): as `address`, but leaves the program when `text` is none. */
  needAddress(family: number, text: string = this.word): InetPrefix {
    if (!parseAddress(this.inet, text, family)) throw this.expected('address', family, text)
    return this.inet
  }

  private expected(what: string, family: number, text: string): LanguageError {
    const of = family === AF_INET ? 'inet' : family === AF_INET6 ? 'inet6' : family === AF_UNSPEC ? 'any valid' : '???'
    return new LanguageError(`Error: ${of} ${what} is expected rather than "${text}".`, 1, text, true)
  }

  /** The ifindex of the device that `name` names; refuses as tc does when there is none. */
  device(name: string, exitCode = 1): number {
    const index = this.devices.indexOf(name)
    if (this.asked !== null) this.asked.push(name)
    if (index === 0) throw new LanguageError(`Cannot find device "${name}"`, exitCode, name)
    return index
  }

  /** A refusal that tc returns to its caller, who may add to it. `word` defaults to the current one. */
  fail(message: string, exitCode = 1, word: string = this.word): LanguageError {
    return new LanguageError(message, exitCode, word)
  }

  /** invarg(): argument "word" is wrong. */
  invarg(message: string, word: string = this.word): LanguageError {
    return new LanguageError(`Error: argument "${word}" is wrong: ${message}`, 255, word, true)
  }

  /** duparg(): a key given twice. */
  duparg(key: string, word: string = this.word): LanguageError {
    return new LanguageError(`Error: duplicate "${key}": "${word}" is the second value.`, 255, word, true)
  }

  /** duparg2(): twice, or something that is no key. */
  duparg2(key: string, word: string = this.word): LanguageError {
    return new LanguageError(`Error: either "${key}" is duplicate, or "${word}" is a garbage.`, 255, word, true)
  }

  /** missarg(): a key that must be there. */
  missarg(key: string): LanguageError {
    return new LanguageError(`Error: argument "${key}" is required`, 255, undefined, true)
  }

  /** incomplete_command(): the line ends where a word must follow. */
  incomplete(): LanguageError {
    const last = this.words[this.words.length - 1]
    return new LanguageError('Command line is not complete. Try option "help"', 255, last, true)
  }
}
