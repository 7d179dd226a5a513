// u32 and fw on packets and in listings: trees of tables, offsets, marks, what is counted, what is refused, and that
// nothing stays behind. The words that tc prints are those of a recorded tc 6.1.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { inUse, reclaim } from '../memory/pool.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { macBytes, tagged, tcp, udp } from '../testing/packets.ts'
import { execute } from './execute.ts'

chipModule() // built here, where no test's time runs

let sw: Switch
let out: string[]
let base: Record<string, number>

const tc = (line: string): string => execute(sw, line.split(' '))
/** What the tables have, when nothing waits any more for packets to pass. */
function used(): Record<string, number> {
  for (let i = 0; i < 3; i++) {
    sw.datapath.quiescent()
    reclaim(sw.arena)
  }
  const all = inUse(sw.arena)
  const tags = ['flow', 'mask', 'table', 'prio', 'chain', 'key', 'counter', 'action', 'program', 'local']
  return Object.fromEntries(tags.map((t) => [t, all[t] ?? 0]))
}
const leaves = (frame: Uint8Array): string => {
  out.length = 0
  sw.input(0, frame)
  return out.join(' ')
}
// biome-ignore lint/suspicious/noExplicitAny: tc's JSON
const shown = (hook = 'ingress'): any[] => JSON.parse(tc(`tc -s -j filter show dev p0 ${hook}`))

beforeEach(() => {
  sw = createSwitch({
    ports: ['p0', 'p1', 'p2', 'p3'].map((name, i) => ({ name, mac: macBytes(`02:00:00:00:00:0${i}`), mtu: 1500 })),
    arenaBytes: 256 << 20,
  })
  out = []
  sw.onOutput((port) => out.push(`p${port}`))
  tc('tc qdisc add dev p0 clsact')
  base = used()
})

afterEach(() => {
  tc('tc qdisc del dev p0 clsact')
  tc('tc qdisc add dev p0 clsact')
  expect(used()).toEqual(base)
  sw.close()
})

const F = 'tc filter add dev p0 ingress protocol ip pref 10'
const to = (port: number): string => `action mirred egress redirect dev p${port}`

describe('u32', () => {
  test('prints what tc 6.1 prints', () => {
    tc('tc filter add dev p0 ingress protocol ip pref 40 u32 match ip src 1.1.1.0/24 at 16 action drop')
    expect(tc('tc filter show dev p0 ingress')).toBe(`filter protocol ip pref 40 u32 chain 0 
filter protocol ip pref 40 u32 chain 0 fh 800: ht divisor 1 
filter protocol ip pref 40 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 terminal flowid not_in_hw 
  match 01010100/ffffff00 at 16
	action order 1: gact action drop
	 random type none pass val 0
	 index 1 ref 1 bind 1

`)
  })

  test.each([
    ['match u32 0x01010101 0xffffffff at 16', true],
    ['match u32 0x01010102 0xffffffff at 16', false],
    ['match u16 53 0xffff at 22', true],
    ['match u8 17 0xff at 9', true],
    ['match u16 0x0800 0xffff at -2', true],
    ['match ip dport 53 0xffff match ip protocol 17 0xff', true],
    ['match ip protocol 6 0xff', false],
    ['match ip src 9.9.9.0/24', true],
    ['match ip tos 0 0xff match ip ihl 5 0xf', true],
    ['match ip nofrag', true],
    ['match ip mf', false],
    ['match ether dst 02:bb:00:00:00:01', true],
    ['match ether src 02:bb:00:00:00:01', false],
    ['match mark 0 0xff', true],
    ['match mark 1 0xff', false],
    ['match u32 0 0 at 2000', false],
    ['match u32 0 0 at -2000', false],
  ])('%s: %s', (match, holds) => {
    tc(`${F} u32 ${match} ${to(1)}`)
    expect(leaves(udp())).toBe(holds ? 'p1' : '')
  })

  test('looks behind the tag of a tagged frame', () => {
    tc(
      `tc filter add dev p0 ingress protocol 802.1Q pref 1 u32 match ip protocol 17 0xff match u16 0x0800 0xffff at -2 ${to(1)}`,
    )
    expect(leaves(tagged(udp(), 7))).toBe('p1')
  })

  test('goes through linked tables, by hash, and by the length of the IP header', () => {
    tc(`${F} handle 1: u32 divisor 256`)
    tc(`${F} handle 2: u32 divisor 1`)
    tc(`${F} u32 ht 800:: match ip protocol 17 0xff offset at 0 mask 0x0f00 shift 6 link 1: hashkey mask 0xff at 16`)
    tc(`${F} u32 ht 1:1: match udp dst 53 0xffff ${to(1)}`)
    tc(`${F} u32 ht 1:2: match udp dst 53 0xffff ${to(2)}`)
    tc(`${F} u32 ht 800:: match ip protocol 6 0xff offset at 0 mask 0x0f00 shift 6 eat link 2:`)
    tc(`${F} u32 ht 2: match u16 80 0xffff at 2 ${to(3)}`)
    expect(leaves(udp({ dst: '1.1.1.1' }))).toBe('p1')
    expect(leaves(udp({ dst: '1.1.1.2' }))).toBe('p2')
    expect(leaves(udp({ dst: '1.1.1.3' }))).toBe('')
    expect(leaves(udp({ dst: '1.1.1.1', dport: 54 }))).toBe('')
    expect(leaves(tcp({ sport: 1, dport: 80, flags: 2 }))).toBe('p3')
    expect(leaves(tcp({ sport: 1, dport: 81, flags: 2 }))).toBe('')
    const text = tc('tc filter show dev p0 ingress')
    expect(text).toContain('    offset 0f00>>6 at 0 ')
    expect(text).toContain('    hash mask 000000ff at 16 ')
    expect([...text.matchAll(/ fh (\S+)/g)].map((f) => f[1])).toEqual([
      '2:',
      '2::800',
      '1:',
      '1:1:800',
      '1:2:800',
      '800:',
      '800::800',
      '800::801',
    ])
    expect(() => tc('tc filter del dev p0 ingress protocol ip pref 10 handle 1: u32')).toThrow('Can not delete in-use')
    tc('tc filter del dev p0 ingress protocol ip pref 10 handle 800::800 u32')
    tc('tc filter del dev p0 ingress protocol ip pref 10 handle 1: u32')
    expect(leaves(udp({ dst: '1.1.1.1' }))).toBe('')
  })

  test('continue goes to the next node; what is seen, and what matched, is counted', () => {
    tc(`${F} u32 match ip protocol 17 0xff action continue`)
    tc(`${F} u32 match ip protocol 17 0xff match ip dport 53 0xffff ${to(1)}`)
    tc(`tc filter add dev p0 ingress protocol ip pref 20 flower ${to(2)}`)
    expect(leaves(udp())).toBe('p1')
    expect(leaves(udp({ dport: 54 }))).toBe('p2')
    expect(leaves(tcp({ sport: 1, dport: 2, flags: 2 }))).toBe('p2')
    const nodes = shown().filter((f) => f.options?.rule_hit !== undefined)
    expect(nodes.map((f) => [f.options.rule_hit, f.options.success])).toEqual([
      [3, 2],
      [3, 1],
    ])
  })

  test('a change keeps the selector and the counters', () => {
    tc(`${F} u32 match ip protocol 17 0xff ${to(1)}`)
    expect(leaves(udp())).toBe('p1')
    tc(`tc filter change dev p0 ingress protocol ip pref 10 handle 800::800 u32 match ip protocol 6 0xff ${to(2)}`)
    expect(leaves(udp())).toBe('p2')
    expect(shown()[2].options).toMatchObject({ fh: '800::800', rule_hit: 2, success: 2 })
  })

  test('a shared action that is replaced is what its nodes run', () => {
    tc('tc actions add action mirred egress redirect dev p1 index 5')
    tc(`${F} u32 match ip protocol 17 0xff action mirred index 5`)
    expect(leaves(udp())).toBe('p1')
    tc('tc actions replace action mirred egress redirect dev p3 index 5')
    expect(leaves(udp())).toBe('p3')
    tc('tc filter del dev p0 ingress')
    tc('tc actions flush action mirred')
  })

  test('the tables of the two hooks of a device share their numbers', () => {
    tc(`${F} u32 match u32 0 0 action pass`)
    tc('tc filter add dev p0 egress protocol ip pref 10 u32 match u32 0 0 action pass')
    expect([shown()[1].options.fh, shown('egress')[1].options.fh]).toEqual(['800:', '801:'])
  })

  test.each([
    [`${F} u32 match ip src 1.1.1.1 link 5: ${to(1)}`, 'Error: cls_u32: Link hash table not found.'],
    [`${F} u32 ht 5: match ip src 1.1.1.1 ${to(1)}`, 'Error: cls_u32: Specified hash table not found.'],
    [`${F} handle 800: u32 divisor 1`, 'Error: Filter already exists.'],
    [`${F} u32 match u32 1 1 at 2 ${to(1)}`, 'Illegal "match"'],
    [`${F} u32 match ip foo 1 1 ${to(1)}`, 'Illegal "match"'],
    [`${F} u32 divisor 3`, 'Illegal "divisor"'],
    [`${F} u32 skip_sw match u32 0 0 ${to(1)}`, 'RTNETLINK answers: Operation not supported'],
    [`${F} u32 match u32 0 0 police rate 1mbit burst 10k drop`, '"police" is not supported'],
    ['tc filter del dev p0 ingress protocol ip pref 10 handle 800: u32', 'Not allowed to delete root node'],
    ['tc filter del dev p0 ingress protocol ip pref 10 handle 800::900 u32', 'Specified filter handle not found'],
    ['tc filter add dev p0 ingress protocol ip pref 11 basic action drop', 'basic'],
  ])('%s: %s', (line, words) => {
    tc(`${F} u32 match ip protocol 1 0xff action pass`)
    expect(() => tc(line)).toThrow(words)
  })
})

describe('fw', () => {
  test('sees the mark that an action set, under the bits of its prio', () => {
    tc('tc qdisc add dev p1 clsact')
    tc(`${F} flower ip_proto udp action skbedit mark 0x107 ${to(1)}`)
    tc('tc filter add dev p1 egress protocol all pref 1 handle 7/0xff fw action mirred egress redirect dev p2')
    tc('tc filter add dev p1 egress protocol all pref 1 handle 0x108/0xff fw action drop')
    expect(leaves(udp())).toBe('p2')
    expect(tc('tc filter show dev p1 egress')).toBe(
      `filter protocol all pref 1 fw chain 0 
filter protocol all pref 1 fw chain 0 handle 0x7/0xff 

	action order 1: mirred (Egress Redirect to device p2) stolen
	index 2 ref 1 bind 1

filter protocol all pref 1 fw chain 0 handle 0x108/0xff 

	action order 1: gact action drop
	 random type none pass val 0
	 index 1 ref 1 bind 1

`.replace(' \tindex', '\tindex'),
    )
    expect(() => tc('tc filter add dev p1 egress protocol all pref 1 handle 9/0xf fw action drop')).toThrow(
      'filters of one preference share a mask',
    )
    expect(() => tc('tc filter add dev p1 egress protocol all pref 1 fw action drop')).toThrow('a handle is needed')
    expect(() => tc('tc filter add dev p1 egress protocol all pref 2 fw')).toThrow('not supported')
    tc('tc qdisc del dev p1 clsact')
  })
})
