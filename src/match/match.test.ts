// Every key of the conformance data, all the way round: words → attributes → key and mask → attributes → text and JSON.
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitLine } from '../tc/line.ts'
import { Printer } from '../tc/printer.ts'
import { parseProtocol } from '../tc/protocol_text.ts'
import { Builder } from '../wire/netlink.ts'
import { NetlinkError, strerror } from '../wire/netlink_error.ts'
import { TCA_FLOWER_CLASSID, TCA_FLOWER_FLAGS } from '../wire/tca_flower.ts'
import { TCA_CLS_FLAGS_NOT_IN_HW } from '../wire/tcm.ts'
import { flowerContext, parseFlower, printFlower } from './flower.ts'
import { flowKey, flowKeyAttributes } from './index.ts'
import { keyExtra } from './match.ts'

const data = new URL('../../../shared/conformance/tc-output/', import.meta.url)
const present = existsSync(new URL('keys.txt', data))

const devices = {
  indexOf: (name: string): number => (/^p\d$/.test(name) ? Number(name[1]) + 2 : 0),
  nameOf: (i: number): string => `p${i - 2}`,
}

/** The content of TCA_OPTIONS that the words make. */
function attributes(protocol: string, words: string[]): Builder {
  const b = new Builder()
  const args = new Args(words, devices)
  parseFlower(args, b, flowerContext(parseProtocol(protocol), 0xfffffff2), () => {
    args.at = words.length
  })
  return b
}

/** What the filter made of them says of itself. */
function shown(b: Builder, json: boolean): string {
  const key = new Uint8Array(512)
  const mask = new Uint8Array(512)
  const extra = keyExtra(devices)
  flowKey(b.d, 0, b.at, key, mask, extra)
  const dump = new Builder()
  if (extra.classid) dump.attrU32(TCA_FLOWER_CLASSID, extra.classid)
  flowKeyAttributes(key, mask, extra, dump)
  dump.attrU32(TCA_FLOWER_FLAGS, extra.flags | TCA_CLS_FLAGS_NOT_IN_HW)
  const out = new Printer(devices, { json })
  out.openObject()
  printFlower(dump.d, 0, dump.at, 1, out, () => {})
  out.closeObject()
  return out.finish()
}

describe.skipIf(!present)('keys as tc 6.1 and Linux 6.1 know them (conformance data)', () => {
  const text = present ? readFileSync(new URL('keys.txt', data), 'utf8') : ''
  // What skip_sw is refused for is the filter table's affair.
  const cases = text
    .split(/^\$ tc /m)
    .slice(1)
    .filter((c) => !c.includes(' skip_sw action'))
  test.each(cases.map((c) => [c.slice(0, c.indexOf('\n')), c.slice(c.indexOf('\n') + 1)]))('%s', (line, expected) => {
    const words = splitLine(line)
    const protocol = words[words.indexOf('protocol') + 1]
    const rest = words.slice(words.indexOf('flower') + 1)
    if (!expected.startsWith('filter')) {
      const lines = expected.trimEnd().split('\n')
      try {
        shown(attributes(protocol, rest), false)
        expect.unreachable('was not refused')
      } catch (e) {
        if (e instanceof NetlinkError)
          expect(lines[0]).toBe(e.message ? `Error: ${e.message}.` : `RTNETLINK answers: ${strerror(e.errno)}`)
        else if (e instanceof LanguageError) {
          const said = lines.slice(0, -1).filter((l) => !l.startsWith('\t')) // without the usage
          expect(said.join('\n')).toBe(e.message)
          expect(lines.at(-1)).toBe(`[exit ${e.exitCode}]`)
        } else throw e
      }
      return
    }
    const [, second] = expected.split(/^filter /m).slice(1)
    expect(`${shown(attributes(protocol, rest), false)}\n`).toBe(second.slice(second.indexOf('handle 0x1')))
  })

  const json = present ? readFileSync(new URL('keys.jsonl', data), 'utf8') : ''
  const pairs = json.split(/\n\n/).map((p) => p.split('\n'))
  test.each(pairs.filter((p) => p[1]?.startsWith('[')).map((p) => [p[0], p[1]]))('as JSON: %s', (line, expected) => {
    const [protocol, ...rest] = splitLine(line)
    const { options } = JSON.parse(expected)[1]
    delete options.actions
    const ours = shown(attributes(protocol, rest), true)
    expect(ours).toBe(JSON.stringify(options))
  })
})

describe.skipIf(!present)('refusals of tc 6.1 (conformance data)', () => {
  const text = present ? readFileSync(new URL('errors.txt', data), 'utf8') : ''
  const cases = text
    .split(/^\$ tc /m)
    .slice(1)
    .map((c) => c.split('\n'))
    .filter(([line]) => /^filter add dev p0 ingress protocol \S+ pref 10 flower /.test(line))
    .filter(([line]) => !/ (action|skip_sw)|protocol bogus/.test(line))
  test.each(cases.map(([line, ...said]) => [line, said]))('%s', (line, said) => {
    const words = splitLine(line as string)
    const protocol = words[words.indexOf('protocol') + 1]
    const expected = (said as string[]).filter((l) => l.startsWith('stderr: ')).map((l) => l.slice(8))
    let message = ''
    try {
      shown(attributes(protocol, words.slice(words.indexOf('flower') + 1)), false)
    } catch (e) {
      if (e instanceof NetlinkError)
        message = e.message ? `Error: ${e.message}.` : `RTNETLINK answers: ${strerror(e.errno)}`
      else if (e instanceof LanguageError) {
        message = e.message
        expect(said).toContain(`[exit ${e.exitCode}]`)
      } else throw e
    }
    const lines = message.split('\n')
    expect(expected.slice(0, lines.length).join('\n')).toBe(message)
  })
})
