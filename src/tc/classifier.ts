// The kinds of filters that the language knows: which file reads and prints a kind's options.

import { attrLen, type Builder } from '../wire/netlink.ts'
import type { Args } from './args.ts'
import { flower } from './flower.ts'
import { fw } from './fw.ts'
import { matchall } from './matchall.ts'
import type { Printer } from './printer.ts'
import { u32 } from './u32.ts'

export interface Classifier {
  /**
   * Reads the words behind the kind's name and writes TCA_OPTIONS behind the message begun in `b`, whose tcm_handle it
   * sets from `handle` ("" when none was given). Throws LanguageError with exit status 1.
   */
  parse(args: Args, b: Builder, handle: string): void
  /** Prints the TCA_OPTIONS whose payload is at `o`; `handle` and `protocol` are the filter's. */
  print(d: DataView, o: number, handle: number, protocol: number, out: Printer): void
}

/** Where a message's tcm_handle is. */
export const TCM_HANDLE = 24

const CLASSIFIERS: Readonly<Record<string, Classifier>> = { flower, matchall, u32, fw }

/** The reader and printer of a kind; one that refuses words and prints numbers when the kind is unknown. */
export const classifier = (kind: string): Classifier =>
  Object.hasOwn(CLASSIFIERS, kind) ? CLASSIFIERS[kind] : unknown(kind)

const unknown = (kind: string): Classifier => ({
  parse(args, b, handle) {
    if (args.more) throw args.fail(`Unknown filter "${kind}", hence option "${args.word}" is unparsable`)
    if (!handle) return
    const h = args.number(handle, 16, 0xffffffff)
    if (h < 0) throw args.fail(`Unparsable filter ID "${handle}"`, 1, handle)
    b.d.setUint32(TCM_HANDLE, h, true)
  },
  print(d, o, handle, _protocol, out) {
    const fh = `fh ${handle.toString(16).padStart(8, '0')} `
    if (attrLen(d, o)) out.raw(`${fh}[Unknown filter, optlen=${attrLen(d, o)}] `)
    else if (handle) out.raw(fh)
  },
})
