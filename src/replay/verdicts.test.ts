// Actions with a verdict that is not `pipe`, and those with two verdicts, on packets: where the list goes and what is
// counted (tcf_action_exec, tcf_police_act, tcf_gact_act and the `drop` of the other kinds).
import { afterEach, beforeEach, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { macBytes, udp } from '../testing/packets.ts'
import { execute } from './execute.ts'

chipModule() // built here, where no test's time runs

let sw: Switch
let out: string[]

const tc = (line: string): string => execute(sw, line.split(' '))

beforeEach(() => {
  sw = createSwitch({
    ports: ['p0', 'p1', 'p2'].map((name, i) => ({ name, mac: macBytes(`02:00:00:00:00:0${i}`), mtu: 1500 })),
    arenaBytes: 256 << 20,
  })
  out = []
  sw.onOutput((port) => out.push(`p${port}`))
  tc('tc qdisc add dev p0 clsact')
})
afterEach(() => sw.close())

const to = (port: number): string => `action mirred egress redirect dev p${port}`
/** Where each of `n` packets goes, `-` for nowhere. */
function ways(actions: string, n: number): string[] {
  tc(`tc filter add dev p0 ingress protocol ip pref 10 flower action ${actions}`)
  tc(`tc filter add dev p0 ingress protocol ip pref 20 flower ${to(2)}`)
  return Array.from({ length: n }, () => {
    out.length = 0
    sw.input(0, udp())
    return out.join(' ') || '-'
  })
}
/** Packets, drops and overlimits of each action of the first filter. */
function counted(): number[][] {
  const text = tc('tc -s filter show dev p0 ingress').split('pref 20')[0]
  const all = text.matchAll(/ (\d+) pkt \(dropped (\d+), overlimits (\d+) /g)
  return [...all].map(([, ...numbers]) => numbers.map(Number))
}

const POLICE = 'police rate 8bit burst 60 mtu 2000 conform-exceed'

test.each([
  ['continue/pipe', ['p1', 'p2', 'p2'], 1],
  ['pipe/continue', ['p2', 'p1', 'p1'], 2],
  ['pipe/drop', ['-', 'p1', 'p1'], 2],
  ['jump 2 / continue', ['p2', 'p1', 'p1'], 2],
  ['pipe/pipe', ['p1', 'p1', 'p1'], 3],
])('police %s', (verdicts, want, piped) => {
  const between = verdicts.startsWith('jump') ? 'action drop ' : ''
  expect(ways(`${POLICE} ${verdicts} ${between}${to(1)}`, 3)).toEqual(want)
  const stats = counted()
  expect(stats[0]).toEqual([3, verdicts === 'pipe/drop' ? 1 : 0, 2])
  expect(stats.at(-1)).toEqual([piped, 0, 0])
})

test.each([
  ['continue random determ pipe 3', ['p2', 'p2', 'p1', 'p2', 'p2', 'p1'], 0],
  ['drop random determ pipe 2', ['-', 'p1', '-', 'p1', '-', 'p1'], 3],
  ['pipe random determ drop 2', ['p1', '-', 'p1', '-', 'p1', '-'], 3],
  ['pipe random determ continue 2', ['p1', 'p2', 'p1', 'p2', 'p1', 'p2'], 0],
])('gact %s', (words, want, drops) => {
  expect(ways(`${words} ${to(1)}`, 6)).toEqual(want)
  expect(counted()).toEqual([
    [6, drops, 0],
    [want.filter((p) => p === 'p1').length, 0, 0],
  ])
})

test('two ways that both go on', () => {
  expect(ways(`${POLICE} pipe / jump 2 action drop ${to(1)}`, 3)).toEqual(['p1', '-', '-'])
  expect(counted()).toEqual([
    [3, 0, 2],
    [2, 2, 0],
    [1, 0, 0],
  ])
})

test('two ways that both go on, by chance', () => {
  expect(ways(`pipe random determ jump 2 3 action drop ${to(1)}`, 6)).toEqual(['-', '-', 'p1', '-', '-', 'p1'])
  expect(counted()).toEqual([
    [6, 0, 0],
    [4, 4, 0],
    [2, 0, 0],
  ])
})

test.each([
  ['drop', 3, 0],
  ['csum ip drop', 3, 0],
  ['nat ingress 9.9.9.9 8.8.8.8 drop', 3, 0],
  ['skbmod swap mac drop', 0, 3],
  ['pedit munge ip ttl set 3 drop', 0, 0],
  ['vlan push id 5 drop', 0, 0],
  ['skbedit mark 5 drop', 0, 0],
])('%s counts what it drops as its kind does', (action, drops, overlimits) => {
  expect(ways(action, 3)).toEqual(['-', '-', '-'])
  expect(counted()).toEqual([[3, drops, overlimits]])
})

test('a redirect beyond the nest limit counts no packet', () => {
  tc('tc qdisc add dev p1 clsact')
  tc(`tc filter add dev p1 egress protocol ip pref 10 flower ${to(1)}`)
  expect(ways(to(1).slice('action '.length), 1)).toEqual(['-'])
  expect(tc('tc -s filter show dev p1 egress')).toContain(' 3 pkt (dropped 0, overlimits ')
})
