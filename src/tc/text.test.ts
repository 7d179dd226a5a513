import { describe, expect, it } from 'vitest'
import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import { formatIpv6, formatMac, inetPrefix, parseAddress, parseLladdr, parsePrefix } from './address_text.ts'
import { Args, type Devices } from './args.ts'
import { LanguageError, refusedBy } from './language_error.ts'
import { parseInteger, parseU64, parseUint } from './number_text.ts'
import { format, formatG, formatRate, formatSize, Printer } from './printer.ts'

const devices: Devices = { indexOf: (n) => (n === 'p0' ? 3 : 0), nameOf: (i) => (i === 3 ? 'p0' : `if${i}`) }
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

describe('numbers', () => {
  it.each([
    ['10', 0, 10],
    ['0x10', 0, 16],
    ['010', 0, 8],
    ['010', 10, 10],
    ['ff', 16, 255],
    ['0xFF', 16, 255],
    ['0', 0, 0],
    ['+7', 0, 7],
    ['256', 0, -1],
    ['08', 0, -1],
    ['', 0, -1],
    ['1x', 0, -1],
    ['0x', 0, -1],
    ['-1', 0, -1],
  ])('%s in base %i is %i', (word, base, n) => expect(parseUint(word, base, 255)).toBe(n))
  it('reads 64 bits and signed numbers', () => {
    expect(parseU64('0xffffffffffffffff', 0)).toBe(0xffffffffffffffffn)
    expect(parseU64('18446744073709551616', 0)).toBe(-1n)
    expect(parseU64('12x', 0)).toBe(-1n)
    expect(parseInteger('-128', 0, 127)).toBe(-128)
    expect(parseInteger('-129', 0, 127)).toBeNaN()
    expect(parseInteger('128', 0, 127)).toBeNaN()
  })
})

describe('addresses', () => {
  const p = inetPrefix()
  it.each([
    ['10.0.0.1', AF_INET, '0a000001', 32],
    ['10.8', AF_INET, '0a080000', 32],
    ['10.8/16', AF_INET, '0a080000', 16],
    ['10.1.2.3/255.255.0.0', AF_INET, '0a010203', 16],
    ['2001:db8::1/64', AF_INET6, '20010db8000000000000000000000001', 64],
    ['::', AF_INET6, '00000000000000000000000000000000', 128],
    ['::ffff:1.2.3.4', AF_INET6, '00000000000000000000ffff01020304', 128],
    ['1:2:3:4:5:6:7::', AF_INET6, '00010002000300040005000600070000', 128],
    ['1:2:3:4:5:6:7:8', AF_INET6, '00010002000300040005000600070008', 128],
  ])('reads %s', (word, family, bytes, bits) => {
    expect(parsePrefix(p, word, AF_UNSPEC)).toBe(true)
    expect([p.family, hex(p.data.subarray(0, p.bytelen)), p.bitlen]).toEqual([family, bytes, bits])
  })
  it.each([
    '10.0.0.256',
    '1.2.3.4.5',
    '10.0.0.1/33',
    '10.0.0.1/255.0.255.0',
    '1:2:3',
    '1:::2',
    ':1',
    '1:',
    '12345::',
    'x',
    '::1.2.3',
    '1::2::3',
  ])('refuses %s', (word) => expect(parsePrefix(p, word, AF_UNSPEC)).toBe(false))
  it('refuses the other family', () => {
    expect(parseAddress(p, '::1', AF_INET)).toBe(false)
    expect(parseAddress(p, '1.1.1.1', AF_INET6)).toBe(false)
  })
  it.each(['::', '::1', '1::', '2001:db8::1', '1:0:0:2::3', '::ffff:1.2.3.4', '::1.2.3.4', '1:0:2:3:4:5:6:7'])(
    'writes %s as inet_ntop does',
    (text) => {
      expect(parseAddress(p, text, AF_INET6)).toBe(true)
      expect(formatIpv6(p.data)).toBe(text)
    },
  )
  it('reads and writes Ethernet addresses', () => {
    const b = new Uint8Array(32)
    expect(parseLladdr('0:1b:2:fF:4:5', b)).toBe(6)
    expect(formatMac(b)).toBe('00:1b:02:ff:04:05')
    expect(parseLladdr('00:11:22', b)).toBe(3)
    expect(parseLladdr('00:11:22:33:44:100', b)).toBe(-1)
    expect(parseLladdr('hello', b)).toBe(-1)
  })
})

describe('Args', () => {
  const refusal = (f: () => unknown): LanguageError => {
    try {
      f()
    } catch (e) {
      if (e instanceof LanguageError) return e
      throw e
    }
    throw new Error('was not refused')
  }
  it('walks over words and refuses at the end', () => {
    const a = new Args(['dst_ip', '10.0.0.0/8'], devices)
    expect(a.is('dst_ip') && a.matches('dst_ip') && !a.matches('dst')).toBe(true)
    expect(a.next()).toBe('10.0.0.0/8')
    expect(a.prefix(AF_INET) && a.inet.bitlen).toBe(8)
    const e = refusal(() => a.next())
    expect([e.message, e.exitCode, e.word]).toEqual([
      'Command line is not complete. Try option "help"',
      255,
      '10.0.0.0/8',
    ])
    expect([a.word, a.more, a.matches('x')]).toEqual(['', false, false])
  })
  it('says what tc says', () => {
    const a = new Args(['nope'], devices)
    expect(a.device('p0')).toBe(3)
    expect(refusal(() => a.device('p9')).message).toBe('Cannot find device "p9"')
    expect(a.invarg('bad').message).toBe('Error: argument "nope" is wrong: bad')
    expect(a.duparg('dev').message).toBe('Error: duplicate "dev": "nope" is the second value.')
  })
  it('lets callers add to a refusal, but not to an exit', () => {
    const a = new Args(['nope'], devices)
    const e = refusedBy(a.fail('Bad action type nope'), 'bad action parsing') as LanguageError
    expect([e.message, e.word]).toEqual(['Bad action type nope\nbad action parsing', 'nope'])
    const exit = a.invarg('bad')
    expect(refusedBy(exit, 'more')).toBe(exit)
  })
})

describe('Printer', () => {
  const script = (o: Printer): string => {
    o.openArray(null)
    o.openObject()
    o.num('pref', 'pref %u ', 5)
    o.str('kind', '%s ', 'flower')
    o.openObject('options')
    o.hex('tos', 'tos %#x', 16)
    o.hex0x('mask', '/%#x', 255)
    o.bool('not_in_hw', '\n  not_in_hw', true)
    o.closeObject()
    o.nl()
    o.text('text only')
    o.num('json only', null, 7n)
    o.openArray('list', 'list')
    o.str(null, ' %s', 'a')
    o.str(null, ' %s', 'b"\n')
    o.closeArray()
    o.closeObject()
    o.closeArray()
    return o.finish()
  }
  it('prints text', () => {
    expect(script(new Printer(devices))).toBe('pref 5 flower tos 0x10/0xff\n  not_in_hw\ntext onlylist a b"\n')
  })
  it('prints JSON', () => {
    const s = script(new Printer(devices, { json: true }))
    expect(s).toBe(
      '[{"pref":5,"kind":"flower","options":{"tos":"10","mask":"0xff","not_in_hw":true},"json only":7,"list":["a","b\\"\\n"]}]',
    )
    expect(JSON.parse(s)[0].list[1]).toBe('b"\n')
  })
  it('formats as C does', () => {
    expect(format('x%04x|', 255)).toBe('x00ff|')
    expect(format('%-4s|', 'a')).toBe('a   |')
    expect(format('%.2f%%', 1.005)).toBe('1.00%')
    expect([formatG(0.5), formatG(1e6), formatG(123456.7), formatG(1e-5)]).toEqual(['0.5', '1e+06', '123457', '1e-05'])
    expect([formatRate(125n), formatRate(1250n), formatRate(125_000_000n), formatRate(156_250n)]).toEqual([
      '1Kbit',
      '10Kbit',
      '1Gbit',
      '1250Kbit',
    ])
    expect([formatSize(100), formatSize(4096), formatSize(1048576), formatSize(2000)]).toEqual([
      '100b',
      '4Kb',
      '1Mb',
      '2000b',
    ])
  })
})
