import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Devices, parseCommand } from './command.ts'
import { CommandText } from './command_text.ts'
import { KnownLines } from './known_lines.ts'
import { LanguageError } from './language_error.ts'
import { splitLine } from './line.ts'

const indexes = new Map<string, number>()
const devices: Devices = {
  indexOf(name) {
    if (!indexes.has(name)) indexes.set(name, /^[a-z]/.test(name) ? indexes.size + 2 : 0)
    return indexes.get(name) as number
  },
  nameOf: (i) => `if${i}`,
}

const bytesOf = (line: string): Uint8Array => new TextEncoder().encode(line)
const hex = (m: Uint8Array): string => Buffer.from(m).toString('hex')

/** The message, or what the parser refuses the line for. */
function parsed(line: string): string {
  try {
    return hex(parseCommand(splitLine(line), devices).requests[0])
  } catch (e) {
    if (!(e instanceof LanguageError)) throw e
    return e.message
  }
}

/** What knows the shape of this line. */
function knowing(line: string): KnownLines {
  const k = new KnownLines(devices)
  const text = bytesOf(line)
  for (let i = 0; i < 40; i++) {
    const words = splitLine(line)
    k.meet(text, 0, text.length, words, parseCommand(words, devices))
  }
  return k
}

/** The message by what is known, undefined when the line is of another shape. */
const recalled = (k: KnownLines, line: string): string | undefined => {
  const command = k.recall(bytesOf(line), 0)
  return command && hex(command.requests[0])
}

const RULE =
  'filter add dev p0 ingress protocol ip pref 10 handle 7 flower ip_proto udp src_ip 10.0.0.7 dst_port 4000 src_mac 02:aa:00:00:00:01 ' +
  'action tunnel_key set id 1000 src_ip 172.16.0.1 dst_ip 172.16.1.1 dst_port 4789 nocsum action mirred egress redirect dev vxlan0'

test('numbers and addresses of a known line are read where they stand', () => {
  const k = knowing(RULE)
  for (const line of [
    RULE,
    RULE.replace('handle 7', 'handle 4294967295'),
    RULE.replace('10.0.0.7', '255.255.255.255').replace('4000', '1'),
    RULE.replace('02:aa', 'FF:0b').replace('pref 10', 'pref 65535').replace('id 1000', 'id 16777215'),
    RULE.replace('172.16.1.1', '0.0.0.1'),
  ]) {
    expect(recalled(k, line)).toBe(parsed(line))
    expect(recalled(k, `${line}\nfilter`)).toBe(parsed(line))
    expect(k.end).toBe(line.length + 1)
  }
})

test('what is not exactly of the shape is left to the parser', () => {
  const k = knowing(RULE)
  for (const [of, is] of [
    ['handle 7', 'handle 0'],
    ['handle 7', 'handle 07'],
    ['handle 7', 'handle 0x7'],
    ['handle 7', 'handle 4294967296'],
    ['handle 7', 'handle 99999999999'],
    ['handle 7', 'handle'],
    ['pref 10', 'pref 65536'],
    ['pref 10', 'pref  10'],
    ['10.0.0.7', '10.0.0.7/24'],
    ['10.0.0.7', '10.0.7'],
    ['10.0.0.7', '10.0.0.07'],
    ['10.0.0.7', '10.0.0.256'],
    ['10.0.0.7', '0.0.0.0'],
    ['10.0.0.7', '10.0.0.7.1'],
    ['02:aa:00:00:00:01', '00:00:00:00:00:00'],
    ['02:aa:00:00:00:01', '2:aa:00:00:00:01'],
    ['02:aa:00:00:00:01', '02:aa:00:00:00:0g'],
    ['udp', 'tcp'],
    ['dev p0', 'dev p1'],
    ['vxlan0', 'vxlan0 # a comment'],
    ['vxlan0', 'vxlan01'],
    ['vxlan0', 'vxlan0 index 3'],
    ['vxlan0', 'vxlan'],
  ] as const)
    expect([is, recalled(k, RULE.replace(of, is))]).toEqual([is, undefined])
})

test('a device that has another ifindex, or is gone, makes the line unknown', () => {
  const k = knowing(RULE)
  const before = devices.indexOf('vxlan0')
  for (const ifindex of [before + 100, 0]) {
    indexes.set('vxlan0', ifindex)
    expect(recalled(k, RULE)).toBeUndefined()
  }
  indexes.set('vxlan0', before)
  expect(recalled(k, RULE)).toBe(parsed(RULE))
})

const FIXTURES = new URL('../../fixtures/', import.meta.url)

/** All filter lines of the fixtures, one of each shape. */
function fixtureLines(): string[] {
  const lines = new Map<string, string>()
  for (const file of readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.tc')) continue
    for (const line of readFileSync(new URL(file, FIXTURES), 'utf8').split('\n'))
      if (/^(tc )?filter (add|del|replace|change)/.test(line) && !/[#\\'"]/.test(line))
        lines.set(line.replace(/\d+/g, '0'), line.trim())
  }
  return [...lines.values()]
}

test('every filter line of the fixtures, with values of all sizes, is what the parser says, or not known', {
  timeout: 120_000,
}, () => {
  const lines = fixtureLines()
  expect(lines.length).toBeGreaterThan(100)
  let seed = 1
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return (seed >>> 8) % n
  }
  const edges = [
    1,
    2,
    6,
    7,
    17,
    58,
    63,
    64,
    127,
    128,
    255,
    256,
    4095,
    4096,
    32767,
    65535,
    65536,
    1048575,
    2 ** 31,
    4294967295,
  ]
  let known = 0
  let tried = 0
  for (const line of lines) {
    if (!/^[0-9a-f]*$/.test(parsed(line))) continue
    const k = knowing(line)
    for (let i = 0; i < 25; i++) {
      const other = line
        .split(' ')
        .map((w) => {
          if (random(3) === 0) return w
          if (/^\d+$/.test(w)) return String(random(4) === 0 ? random(2 ** 24) : edges[random(edges.length)])
          if (/^\d+\.\d+\.\d+\.\d+$/.test(w)) return [0, 0, 0, 0].map(() => random(256)).join('.')
          return w
        })
        .join(' ')
      const got = recalled(k, other)
      tried++
      if (got === undefined) continue
      known++
      expect([other, got]).toEqual([other, parsed(other)])
    }
  }
  expect(known).toBeGreaterThan(tried / 4)
})

test('a text gives the commands of its lines, whatever is between them', () => {
  const lines: string[] = []
  for (let i = 1; i <= 300; i++) {
    lines.push(RULE.replace('handle 7', `handle ${i}`).replace('10.0.0.7', `10.1.${i >> 8}.${i & 255}`))
    if (i % 50 === 0)
      lines.push('', '# a comment', 'filter add dev p0 ingress protocol ip \\', `  pref 1 handle ${i} flower`)
    if (i % 70 === 0) lines.push(`filter delete dev p0 ingress protocol ip pref 10 handle ${i} flower # gone`)
    if (i === 222) lines.push('filter add dev nowhere9 flower \\ ', "filter add 'quote", 'qdisc show')
  }
  const text = new CommandText(bytesOf(lines.join('\n')), devices)
  const got: [number, string][] = []
  const errors: [number, string][] = []
  for (;;) {
    try {
      const c = text.next()
      if (c === undefined) break
      got.push([text.line, c.requests.map(hex).join()])
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      errors.push([text.line, e.message])
    }
  }
  const want: [number, string][] = []
  const refused: [number, string][] = []
  lines.forEach((line, i) => {
    if (line === '' || line.startsWith('#') || lines[i - 1]?.endsWith('\\')) return
    const whole = line.endsWith('\\') ? `${line.slice(0, -1)}${lines[i + 1]}` : line
    const number = line.endsWith('\\') ? i + 2 : i + 1
    try {
      want.push([number, parseCommand(splitLine(whole), devices).requests.map(hex).join()])
    } catch (e) {
      refused.push([number, (e as Error).message])
    }
  })
  expect(got).toEqual(want)
  expect(errors).toEqual(refused)
  expect(errors.length).toBe(2)
})
