import { expect, test } from 'vitest'
import { type Devices, parseCommand } from './command.ts'
import { splitLine, splitScript } from './line.ts'

const indexes: Record<string, number> = { p0: 2, p1: 3, vxlan0: 7 }
const devices: Devices = { indexOf: (name) => indexes[name] ?? 0, nameOf: (i) => `if${i}` }
const hex = (line: string): string =>
  Buffer.from(parseCommand(splitLine(line), devices).requests[0] ?? new Uint8Array()).toString('hex')

const HEAD = 'filter add dev p0 ingress protocol ip pref 10 flower dst_ip 10.0.0.1'
const tunnel = (id: number): string =>
  `action tunnel_key set id ${id} src_ip 10.0.1.1 dst_ip 10.0.1.${id % 250} dst_port 4789 action mirred egress redirect dev vxlan0`

test('a list read again is what it was the first time, between hundreds of others', () => {
  const first = new Map<number, string>()
  for (let round = 0; round < 3; round++)
    for (let id = 0; id < 600; id++) {
      const bytes = hex(`${HEAD} ${tunnel(id)}`)
      expect(bytes).toContain(id.toString(16).padStart(8, '0'))
      expect(first.get(id) ?? bytes).toBe(bytes)
      first.set(id, bytes)
    }
  expect(new Set(first.values()).size).toBe(600)
})

test('a device that has another ifindex now, or is gone, is asked for again', () => {
  const line = `${HEAD} action mirred egress redirect dev p1`
  const before = hex(line)
  expect(hex(line)).toBe(before)
  indexes.p1 = 9
  expect(hex(line)).toBe(before.replace('03000000', '09000000'))
  delete indexes.p1
  expect(() => hex(line)).toThrow('Cannot find device "p1"')
  indexes.p1 = 3
  expect(hex(line)).toBe(before)
})

test('the same words in another attribute, or before another command, are another list', () => {
  const filter = hex('filter add dev p0 ingress flower action pass index 3')
  const actions = hex('actions add action pass index 3')
  const two = parseCommand(splitLine('actions add action pass index 3 add action pass index 3'), devices).requests
  expect(hex('filter add dev p0 ingress flower action pass index 3')).toBe(filter)
  expect(two.map((m) => Buffer.from(m).toString('hex'))).toEqual([actions, actions])
})

test('what is refused is refused again', () => {
  const line = `${HEAD} action tunnel_key set id x`
  const said = (): string => {
    try {
      return hex(line)
    } catch (e) {
      return (e as Error).message
    }
  }
  expect(said()).toContain('bad action parsing')
  expect(said()).toBe(said())
})

test('the end of a line is the same words each time, comments and quotes included', () => {
  const end = `action simple sdata 'a b' # "no`
  const twice = [...splitScript(`${HEAD} ${end}\n${HEAD} ${end}`)]
  expect(twice.map((l) => l.words)).toEqual([
    [...HEAD.split(' '), 'action', 'simple', 'sdata', 'a b'],
    [...HEAD.split(' '), 'action', 'simple', 'sdata', 'a b'],
  ])
  for (let i = 0; i < 2; i++) expect(() => splitLine('filter add action "y')).toThrow('Unterminated quoted string')
})
