// The contract of a device kind in `ip link add … type KIND …`: who reads and prints its IFLA_INFO_DATA.

import type { Builder } from '../wire/netlink.ts'
import type { InetPrefix } from './address_text.ts'
import type { Args } from './args.ts'
import { LanguageError } from './language_error.ts'
import type { Printer } from './printer.ts'

export interface LinkContext {
  /** False for `ip link set … type …`. */
  readonly create: boolean
  /** -4 or -6 */
  readonly family: number
}

export interface LinkKind {
  /** As in IFLA_INFO_KIND. */
  readonly name: string
  /** Reads the words behind the kind's name to the end of the line. Gives back what `ip` warns about, or "". */
  parse(args: Args, b: Builder, c: LinkContext): string
  /** Prints the attributes of IFLA_INFO_DATA in [o, end). */
  print(d: DataView, o: number, end: number, out: Printer): void
}

/** Words given once at most: `ip` says which was repeated. */
export class Given {
  private readonly seen = new Set<string>()

  /** Notes `key`; throws when it was noted before. */
  once(key: string, args: Args): void {
    if (this.seen.has(key)) throw args.duparg2(key)
    this.seen.add(key)
  }

  has(key: string): boolean {
    return this.seen.has(key)
  }
}

/** An endpoint as read from a line, kept. */
export interface Endpoint {
  readonly family: number
  readonly bytes: Uint8Array
  readonly unspecified: boolean
  readonly multicast: boolean
}

export const endpoint = (p: InetPrefix): Endpoint => {
  const bytes = p.data.slice(0, p.bytelen)
  const whole = p.data.subarray(0, bytes.length === 16 ? 16 : 4)
  return {
    family: p.family,
    bytes,
    unspecified: whole.every((x) => x === 0),
    multicast: bytes.length === 16 ? bytes[0] === 0xff : (bytes[0] & 0xf0) === 0xe0,
  }
}

/** A word that is no option of the kind. */
export const unknownOption = (args: Args, kind: string): LanguageError =>
  args.matches('help')
    ? new LanguageError(`Usage: ... ${kind} [ OPTIONS ]`, 1, args.word)
    : new LanguageError(`${kind}: unknown command "${args.word}"?\nUsage: ... ${kind} [ OPTIONS ]`, 1, args.word)

/** `no` in front of a word in text, a boolean in JSON. */
export function printSwitch(out: Printer, key: string, word: string, on: boolean): void {
  out.bool(key, null, on)
  out.text(`${on ? '' : 'no'}${word} `)
}

/** A TOS, where 1 stands for the inner packet's. */
export function printTos(out: Printer, tos: number): void {
  if (!tos) return
  if (out.json || tos !== 1) out.hex0x('tos', 'tos %#llx ', tos)
  else out.text('tos inherit ')
}

/** The address whose payload is at `o`, "" when all its bytes are zero. */
export function addressAt(out: Printer, d: DataView, o: number, len: number): string {
  for (let i = 0; i < len; i++) if (d.getUint8(o + i)) return out.inet(d, o, len)
  return ''
}
