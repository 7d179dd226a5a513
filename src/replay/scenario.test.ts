import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { largestMtu, loadScenario, scenarioOf } from './scenario.ts'
import { ScenarioError } from './scenario_error.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-scenario-'))
afterAll(() => rmSync(dir, { recursive: true }))
let made = 0

/** A scenario folder with these files, and an empty capture on p0. */
function folder(files: Record<string, string>): string {
  const path = join(dir, String(++made))
  mkdirSync(path)
  for (const [name, text] of Object.entries({ 'in-p0.pcap': '', ...files })) writeFileSync(join(path, name), text)
  return path
}

describe('a folder', () => {
  test('says what to run, in order, and where each line stands', () => {
    const s = loadScenario(
      folder({
        'setup.tc':
          '# a world\n# ports: 3\n# start_ms: 10\n# quiet_ms: 0\n# final_ms: 500\nmodprobe cls_flower\nip link set p0 up',
        'rules.tc':
          '\ntc qdisc add dev p0 clsact\ntc filter add dev p0 ingress \\\n  flower action drop # all\n@1.5s tc filter del dev p0 ingress\n',
        'post.tc': 'tc filter show dev p0 ingress',
        'in-p2.pcapng': '',
      }),
    )
    expect(s.ports).toEqual(['p0', 'p1', 'p2'])
    expect([s.startMs, s.quietMs, s.finalMs]).toEqual([10, 0, 500])
    expect(s.captures.map((c) => c.port)).toEqual([0, 2])
    expect(s.steps.map((x) => [x.where, x.words.join(' '), x.moment])).toEqual([
      ['setup.tc:7', 'ip link set p0 up', null],
      ['rules.tc:2', 'tc qdisc add dev p0 clsact', null],
      ['rules.tc:3', 'tc filter add dev p0 ingress flower action drop', null],
      ['rules.tc:5', 'tc filter del dev p0 ingress', { kind: 'at', value: 1.5e9 }],
    ])
    expect(s.after.map((x) => x.where)).toEqual(['post.tc:1'])
    expect([...s.steps, ...s.after].some((x) => x.forgiving)).toBe(false)
  })

  test('has four ports, 2 ms of quiet and 60 ms at the end when nothing is said', () => {
    const s = loadScenario(folder({}))
    expect(s.ports).toEqual(['p0', 'p1', 'p2', 'p3'])
    expect([s.startMs, s.quietMs, s.finalMs]).toEqual([0, 2, 60])
  })

  test('forgives refusals with "# errors: continue", and those of rules.tc with a file "batch"', () => {
    const texts = { 'rules.tc': 'tc qdisc add dev p0 clsact', 'post.tc': 'tc qdisc show' }
    const forgiving = (files: Record<string, string>) => {
      const s = loadScenario(folder({ 'setup.tc': 'ip link set p0 up', ...texts, ...files }))
      return [...s.steps, ...s.after].map((x) => x.forgiving)
    }
    expect(forgiving({})).toEqual([false, false, false])
    expect(forgiving({ 'setup.tc': '# errors: continue\nip link set p0 up' })).toEqual([true, true, true])
    expect(forgiving({ batch: '' })).toEqual([false, true, false])
  })

  test.each([
    ['@+200ms x', { kind: 'after', value: 200e6 }],
    ['@0.25us x', { kind: 'at', value: 250 }],
    ['@2min x', { kind: 'at', value: 120e9 }],
    ['@packet 100 x', { kind: 'packet', value: 100 }],
  ])('%s', (line, moment) => {
    expect(loadScenario(folder({ 'rules.tc': line })).steps[0]).toMatchObject({ moment, words: ['x'] })
  })

  test.each([
    ['a moment without unit', { 'rules.tc': '\n@5 x' }, /^rules.tc:2: "@5": expected/],
    ['a moment that is none', { 'rules.tc': '@soon x' }, /^rules.tc:1: "@soon": expected/],
    ['a packet that is no number', { 'rules.tc': '@packet one x' }, /^rules.tc:1: "@packet one": expected/],
    ['a moment after the packets', { 'post.tc': '@1s x' }, /^post.tc:1: .*after the packets/],
    ['a quote that does not end', { 'rules.tc': 'a\n\n# c\nb "c' }, /^rules.tc:4: Unterminated/],
    ['a last line that goes on', { 'rules.tc': 'a\nb \\' }, /^rules.tc:2: Missing continuation/],
    ['ports that are no number', { 'setup.tc': '# ports: many' }, /# ports: many/],
    ['no ports', { 'setup.tc': '# ports: 0' }, /expected 1 to 256/],
    ['a capture of no port', { 'in-p4.pcap': '' }, /^in-p4.pcap: there is no port p4/],
    ['two captures of a port', { 'in-p0.pcapng': '' }, /^in-p0.pcapng: a second capture for port p0/],
  ])('refuses %s', (_, files, message) => {
    const path = folder(files as Record<string, string>)
    expect(() => loadScenario(path)).toThrow(ScenarioError)
    expect(() => loadScenario(path)).toThrow(message)
  })

  test('refuses a folder that is not there, or has no capture', () => {
    expect(() => loadScenario(join(dir, 'nowhere'))).toThrow(/nowhere: no such scenario folder/)
    const path = folder({})
    rmSync(join(path, 'in-p0.pcap'))
    expect(() => loadScenario(path)).toThrow(/no capture/)
  })
})

describe('rule files and captures', () => {
  const rules = (text: string) => {
    const path = join(dir, `rules-${++made}`)
    writeFileSync(path, text)
    return path
  }

  test('ports are those of --in, in that order, then those that the rules mention and do not make', () => {
    const file = rules(`# final_ms: 7
ip link add vxlan0 type vxlan external
ip link add name du0 type dummy
ip link set eth7 mtu 9000
tc qdisc add dev lan clsact
filter add dev lan ingress flower action mirred egress redirect dev wan`)
    const s = scenarioOf([file], ['wan=a.pcap', 'p1=b.pcap'])
    expect(s.ports).toEqual(['wan', 'p1', 'eth7', 'lan'])
    expect(s.captures).toEqual([
      { port: 0, path: 'a.pcap' },
      { port: 1, path: 'b.pcap' },
    ])
    expect(s.finalMs).toBe(7)
    expect(s.steps[3].where).toBe(`${file}:5`)
    expect(largestMtu(s)).toBe(9000)
  })

  test.each([
    [['a'], /--in a: expected PORT=PCAP/],
    [['a=1', 'a=2'], /a second capture for port a/],
    [['a/b=1'], /cannot be the name of a device/],
    [[], /no capture/],
  ])('refuses --in %s', (inputs, message) => {
    expect(() => scenarioOf([], inputs)).toThrow(message)
  })

  test('refuses a rule file that is not there', () => {
    expect(() => scenarioOf(['/nowhere.tc'], ['p0=a.pcap'])).toThrow(/nowhere.tc: no such rule file/)
  })
})

test('the largest MTU is that of a device, not of a policer', () => {
  const text =
    'ip link set p0 mtu 9000\ntc filter add dev p0 ingress flower action police rate 1mbit burst 10k mtu 60000'
  expect(largestMtu(loadScenario(folder({ 'setup.tc': text })))).toBe(9000)
  expect(largestMtu(loadScenario(folder({})))).toBe(1500)
})
