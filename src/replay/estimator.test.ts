// Rate estimators on packets in virtual time: what is averaged is checked against a plain floating point average, a policer
// with avrate lets through while the average is below it, and nothing stays behind. The words are those of tc 6.1.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { flowSnapshot } from '../flow/snapshot.ts'
import { inUse, reclaim } from '../memory/pool.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { macBytes, udp } from '../testing/packets.ts'
import { execute } from './execute.ts'

chipModule() // built here, where no test's time runs

let sw: Switch
let sent = 0
let time = 0

const tc = (line: string): string => execute(sw, line.split(' '))
const frame = udp({ data: new Uint8Array(972) }) // 1000 bytes from the IP header on, 1014 with Ethernet
const MS = 1e6

/** n packets, one every `ms`. Says how many went on. */
function send(n: number, ms: number): number {
  const before = sent
  for (let i = 0; i < n; i++) {
    sw.advance(time)
    sw.input(0, frame)
    time += ms * MS
  }
  sw.advance(time)
  return sent - before
}

// biome-ignore lint/suspicious/noExplicitAny: tc's JSON
const stats = (): any[] => {
  const [, { options }] = JSON.parse(tc('tc -s -j filter show dev p0 ingress'))
  return options.actions.map(({ stats }: Record<string, unknown>) => stats)
}

function estimators(): number {
  for (let i = 0; i < 3; i++) {
    sw.datapath.quiescent()
    reclaim(sw.arena)
  }
  return inUse(sw.arena).estimator ?? 0
}

beforeEach(() => {
  sw = createSwitch({
    ports: ['p0', 'p1'].map((name, i) => ({ name, mac: macBytes(`02:00:00:00:00:0${i}`), mtu: 1500 })),
    arenaBytes: 256 << 20,
  })
  sent = 0
  time = sw.now
  sw.onOutput(() => sent++)
  tc('tc qdisc add dev p0 clsact')
})

afterEach(() => {
  tc('tc qdisc del dev p0 clsact')
  sw.advance(time + 10_000 * MS) // an estimator goes at the end of its interval
  expect(estimators()).toBe(0)
  sw.close()
})

const F = 'tc filter add dev p0 ingress protocol ip pref 10'

describe('what is averaged', () => {
  test.each([
    ['250ms 1sec', 250, 2],
    ['1sec 8sec', 1000, 3],
    ['8sec 120sec', 8000, 3],
  ])('estimator %s', (words, interval, log) => {
    tc(`${F} estimator ${words} flower action mirred egress redirect dev p1`)
    let [bps, pps] = [0, 0]
    for (const n of [5, 0, 40, 40, 1]) {
      // The packets of an interval come in its first half, so none is at a border.
      send(n, interval / 100)
      time += (interval - n * (interval / 100)) * MS
      sw.advance(time)
      bps += ((n * 1000 * 1000) / interval - bps) / 2 ** log
      pps += ((n * 1000) / interval - pps) / 2 ** log
      const [s] = stats()
      // tc's bytes are those of the IP packet: a hook of ingress sees no Ethernet header.
      expect(Math.abs(s.rate - bps)).toBeLessThan(2)
      expect(Math.abs(s.pps - pps)).toBeLessThan(2)
    }
  })

  test('every action that the filter makes has one, and it is printed as tc does', () => {
    tc(`${F} estimator 250ms 1sec flower action gact pipe action mirred egress redirect dev p1`)
    send(25, 10)
    expect(stats().map((s) => [s.rate, s.pps])).toEqual([
      [25_000, 25],
      [25_000, 25],
    ])
    expect(tc('tc -s filter show dev p0 ingress')).toContain('\n\trate 200Kbit 25pps\tbacklog 0b 0p requeues 0\n')
  })

  test('an instance that is there keeps what it has', () => {
    tc('tc actions add action gact pass index 7')
    tc(`${F} estimator 250ms 1sec flower action gact index 7`)
    expect(stats()[0]).not.toHaveProperty('rate')
    tc('tc filter del dev p0 ingress')
    tc('tc actions del action gact index 7')
  })

  test('a request needs a struct, and times that the kernel has', () => {
    expect(() => tc(`${F} estimator 9sec 10sec flower action pass`)).toThrow(
      'Error: estimator parameters are out of range.',
    )
    expect(() => tc(`${F} estimator 1sec 1sec flower action pass`)).toThrow(
      'Error: estimator parameters are out of range.',
    )
    expect(() => tc(`${F} estimator soon 1sec flower action pass`)).toThrow(
      'Error: argument "invalid estimator interval" is wrong: estimator',
    )
    expect(() => tc(`${F} estimator 1sec 8sec est 1sec 8sec flower action pass`)).toThrow('duplicate "estimator"')
  })
})

describe('police avrate', () => {
  const P = 'action police avrate 400kbit conform-exceed drop/pipe index 3 action mirred egress redirect dev p1'

  test('lets all through below it, and none from the end of an interval above it on', () => {
    tc(`${F} estimator 250ms 500ms flower ${P}`) // 50 000 bytes a second, weight 1/2
    expect(send(10, 25)).toBe(10) // 40 000 a second: the average is 20 000 now
    expect(send(25, 10)).toBe(25) // 100 000 a second: 60 000
    expect(send(25, 10)).toBe(0) // what is dropped is counted too: 80 000
    expect(send(1, 250)).toBe(0) // 42 000
    expect(send(1, 250)).toBe(1)
    const [s] = stats()
    expect([s.packets, s.drops, s.overlimits]).toEqual([62, 26, 26])
  })

  test('is listed, and kept by a replacement', () => {
    tc(`${F} estimator 250ms 500ms flower ${P}`)
    expect(tc('tc filter show dev p0 ingress')).toContain('mtu 4096Mb avrate 400Kbit action drop/pipe overhead 0b')
    tc('tc actions replace action police avrate 16kbit conform-exceed drop/pipe index 3')
    expect(send(25, 10)).toBe(25)
    expect(send(1, 10)).toBe(0)
    tc('tc actions replace action police rate 1gbit burst 100k conform-exceed drop/pipe index 3')
    expect(send(1, 10)).toBe(1)
  })

  test('is refused without an estimator', () => {
    expect(() => tc(`${F} flower ${P}`)).toThrow('Invalid argument')
    expect(() => tc('tc actions add action police avrate 1mbit drop')).toThrow('Invalid argument')
  })

  test('a snapshot has the estimator', () => {
    tc(`${F} estimator 1sec 8sec flower ${P}`)
    const TCA_RATE = [6, 0, 5, 0, 0, 3, 0, 0] // s8 0: a second; u8 3: an eighth
    const filters = [...flowSnapshot(sw.control.flow)].map((m) => m.join())
    expect(filters.some((m) => m.includes(TCA_RATE.join()))).toBe(true)
  })
})
