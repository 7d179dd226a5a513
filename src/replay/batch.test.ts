import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { batchLength, isBatchLine } from './batch.ts'
import { type ReplayResult, replay } from './replay.ts'
import { loadScenario, scenarioOf } from './scenario.ts'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'flowerbed-batch-'))
  // A capture without a packet.
  const empty = Buffer.alloc(24)
  empty.writeUInt32LE(0xa1b2c3d4, 0)
  empty.writeUInt16LE(2, 4)
  empty.writeUInt16LE(4, 6)
  empty.writeUInt32LE(65535, 16)
  empty.writeUInt32LE(1, 20)
  writeFileSync(join(dir, 'empty.pcap'), empty)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const SETUP = [
  'ip addr add 172.16.0.1/24 dev p1',
  'ip neigh add 172.16.0.2 lladdr 02:11:00:00:00:02 dev p1 nud permanent',
  'ip link add vxlan0 type vxlan external dstport 4789',
  'ip link set vxlan0 up',
  'tc qdisc add dev p0 clsact',
]

/** Rows of twenty: all that order decides, and lines that fail in the parser and in the switch. */
function* generated(rows: number): Generator<string> {
  for (let i = 0; i < rows; i++) {
    const ip = `10.${(i >> 8) & 255}.${i & 255}`
    const rule = (pref: number, rest: string) => `filter add dev p0 ingress protocol ip pref ${pref} ${rest}`
    const encap = `action tunnel_key set id ${i % 50} src_ip 172.16.0.1 dst_ip 172.16.0.${2 + (i % 3)} dst_port 4789`
    yield rule(10, `flower dst_ip ${ip}.1 action drop`) // lowest free handle, lowest free action index
    yield rule(10, `flower dst_ip ${ip}.2 action pass`)
    yield rule(10, `flower src_ip ${ip}.0/${8 + (i % 25)} ip_proto tcp dst_port ${1 + i} action drop`) // a mask's birth
    yield rule(20, `handle ${3 * i + 7} flower dst_ip ${ip}.3 ${encap} action mirred egress redirect dev vxlan0`)
    yield rule(20, `flower dst_ip ${ip}.4 ${encap} action mirred egress redirect dev vxlan0`)
    yield rule(20, `handle ${3 * i + 7} flower dst_ip ${ip}.5 action drop`) // taken
    yield `filter del dev p0 ingress protocol ip pref 20 handle ${3 * i + 7} flower`
    yield `filter del dev p0 ingress protocol ip pref 20 handle ${3 * i + 7} flower` // gone
    yield rule(10, `flower dst_ip ${ip}.1 action drop`) // the same match again
    yield rule(30, `flower dst_ip ${ip}.300 action drop`) // no address
    yield `filter replace dev p0 ingress protocol ip pref 40 handle ${1 + (i % 5)} flower dst_ip ${ip}.6 action drop`
    yield `filter change dev p0 ingress protocol ip pref 40 handle ${1 + (i % 9)} flower dst_ip ${ip}.7 action pass`
    yield `filter add dev p0 egress protocol ip flower dst_ip ${ip}.8 action gact index ${1 + (i % 40)}`
    yield `actions add action gact drop index ${100 + i}`
    yield rule(10, `flower dst_ip ${ip}.9 action gact index ${100 + i}`)
    yield `tc actions delete action gact index ${100 + i - 1}` // in use
    yield `tc filter add dev p9 ingress flower action drop` // no such device
    yield rule(50, `chain ${i % 4} flower dst_ip ${ip}.10 action goto chain ${1 + (i % 4)}`)
    yield rule(10, `flower nonsense ${i}`)
    yield rule(60, `flower dst_mac 02:00:00:00:${(i >> 8).toString(16)}:${(i & 255).toString(16)} action drop`)
  }
}

async function run(name: string, lines: readonly string[], forgiving: boolean, controlWorkers: number) {
  const file = join(dir, `${name}.tc`)
  writeFileSync(file, [...(forgiving ? ['# errors: continue'] : []), ...lines, ''].join('\n'))
  return replay(scenarioOf([file], [`p0=${join(dir, 'empty.pcap')}`, `p1=${join(dir, 'empty.pcap')}`]), {
    controlWorkers,
  })
}

/** What may be compared: times of day aside, everything. */
const told = (r: ReplayResult) => ({ filters: r.filters, log: r.log, summary: { ...r.summary, captures: [] } })

test('8 000 lines by three control workers: table, handles, indexes and refusals as by one', {
  timeout: 600_000,
}, async () => {
  const lines = [...SETUP, ...generated(400)]
  lines.splice(3600, 0, 'ip link set p1 mtu 2000', 'tc filter show dev p0 egress', 'tc qdisc add dev p1 clsact')
  const one = told(await run('many', lines, true, 1))
  const three = told(await run('many', lines, true, 3))
  expect(one.log.length).toBeGreaterThan(2000)
  expect(Object.keys(one.filters)).toContain('p0-ingress')
  expect(three.log).toEqual(one.log)
  expect(three.filters).toEqual(one.filters)
  expect(three.summary).toEqual(one.summary)
})

test('the first line that may not fail is the one that is named', { timeout: 300_000 }, async () => {
  const good = (i: number) =>
    `filter add dev p0 ingress protocol ip pref 10 flower dst_ip 10.0.${i >> 8}.${i & 255} action drop`
  const lines = [...SETUP, ...Array.from({ length: 600 }, (_, i) => good(i))]
  lines[400] = good(3)
  lines[401] = 'filter add dev p0 ingress protocol ip pref 10 flower nonsense 1'
  const why = /bad\.tc:401: .*File exists/
  await expect(run('bad', lines, false, 1)).rejects.toThrow(why)
  await expect(run('bad', lines, false, 2)).rejects.toThrow(why)
})

const kernel = fileURLToPath(new URL('../../fixtures/kernel/', import.meta.url))
const most = readdirSync(kernel)
  .map((name) => ({ name, scenario: loadScenario(join(kernel, name)) }))
  .map((c) => ({ ...c, rows: c.scenario.steps.filter((_, at) => batchLength(c.scenario.steps, at, 2) > 0).length }))
  .sort((x, y) => y.rows - x.rows)
  .slice(0, 5)

test.each(most)(
  '$name of the kernel: the same by two control workers',
  { timeout: 300_000 },
  async ({ scenario, rows }) => {
    expect(rows).toBeGreaterThan(5)
    const one = told(await replay(scenario, { controlWorkers: 1 }))
    expect(told(await replay(scenario, { controlWorkers: 2, shortestBatch: 2 }))).toEqual(one)
  },
)

test('which lines make a batch', () => {
  const step = (line: string, at = false) => ({
    where: 'x:1',
    words: line.split(' '),
    moment: at ? { kind: 'at' as const, value: 1 } : null,
    forgiving: false,
  })
  expect(isBatchLine('tc filter add dev p0 ingress flower'.split(' '))).toBe(true)
  expect(isBatchLine('actions del action gact index 1'.split(' '))).toBe(true)
  for (const line of [
    'tc -s filter show dev p0',
    'filter show dev p0',
    'tc qdisc add dev p0 clsact',
    'ip link add x type dummy',
  ])
    expect(isBatchLine(line.split(' ')), line).toBe(false)
  const steps = Array.from({ length: 200 }, () => step('filter add dev p0'))
  expect(batchLength(steps, 0)).toBe(200)
  expect(batchLength(steps, 150)).toBe(0)
  steps[160] = step('filter add dev p0', true)
  expect(batchLength(steps, 0)).toBe(160)
})
