// The folders in fixtures/ that are not a kernel's: what each is there to show.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { CaptureError, openCapture } from '../port/capture/capture.ts'
import { fixtures } from '../testing/make_fixtures.ts'
import { replay } from './replay.ts'
import { loadScenario } from './scenario.ts'
import { ScenarioError } from './scenario_error.ts'

const root = fileURLToPath(new URL('../../fixtures/', import.meta.url))
const out = mkdtempSync(join(tmpdir(), 'flowerbed-fixtures-'))
afterAll(() => rmSync(out, { recursive: true }))

const run = (folder: string, dir = join(out, folder)) => replay(loadScenario(join(root, folder)), { out: dir })

/** Frames of a capture that a replay wrote. */
function count(path: string): number {
  const c = openCapture(path)
  while (c.next() > 0);
  c.close()
  return c.count
}

test.each(Object.entries(fixtures()))('%s is what make_fixtures.ts makes', (path, bytes) => {
  expect(Buffer.compare(readFileSync(join(root, path)), bytes)).toBe(0)
})

describe('damaged', () => {
  const expected: Record<string, [packets: number, offset: number, what: RegExp]> = {
    empty: [0, 0, /the file is empty/],
    'file-header-cut': [0, 10, /file header is cut short: 10 of 24 bytes/],
    'record-header-cut': [3, 258, /header of record 4 is cut short: 7 of 16 bytes/],
    'record-cut': [3, 258, /record 4 is cut short: 46 of 78 bytes/],
    'length-impossible': [2, 180, /record 3 says that it has 4294967280 bytes/],
    'big-endian-nanoseconds-cut': [4, 336, /record 5 is cut short: 20 of 78/],
    'ng-block-cut': [3, 348, /a block is cut short: 40 of 96 bytes/],
    'ng-trailer-disagrees': [2, 252, /a block of 96 bytes ends in a length of 67305985/],
    'ng-interface-unknown': [2, 252, /packet 3 is of interface 9/],
    'ng-length-impossible': [1, 156, /packet 2 says that it has 2147483647 bytes/],
    'ng-interface-wireless': [1, 156, /interface 1 has link type 105/],
  }

  test('each folder is in the table', () => {
    expect(readdirSync(join(root, 'damaged')).sort()).toEqual(Object.keys(expected).sort())
  })

  test.each(Object.entries(expected))('%s: what came before goes through', async (name, [packets, offset, what]) => {
    const { damaged, summary } = await run(`damaged/${name}`)
    expect(damaged).toEqual([
      { path: expect.stringContaining(name), damage: { offset, what: expect.stringMatching(what) } },
    ])
    expect(summary.packets).toEqual({ in: packets, out: packets, dropped: 0 })
    expect(count(join(out, `damaged/${name}/out-p1.pcap`))).toBe(packets)
  })
})

describe('nothing is done', () => {
  const results = join(out, 'results')

  test.each([
    ['refused/link-type-cooked', CaptureError, /link type 113, LINUX_SLL/],
    ['refused/link-type-raw-ng', CaptureError, /link type 101, RAW/],
    ['refused/gzip', CaptureError, /gzip/],
    ['refused/text', CaptureError, /not a capture/],
    ['mistakes/unknown-key', ScenarioError, /^rules\.tc:2: .*colour/],
    ['mistakes/bad-address', ScenarioError, /^rules\.tc:3: /],
    ['mistakes/no-such-device', ScenarioError, /^rules\.tc:3: .*vxlan7/],
    ['mistakes/filter-twice', ScenarioError, /^rules\.tc:3: .*exists/i],
    ['mistakes/line-ends', ScenarioError, /^rules\.tc:2: /],
    ['mistakes/no-such-word', ScenarioError, /^rules\.tc:2: .*filtre/],
    ['mistakes/timed-line', ScenarioError, /^rules\.tc:3: .*ten/],
  ])('%s', async (folder, kind, message) => {
    const before = existsSync(results) ? readdirSync(results) : null
    const work = run(folder, results)
    await expect(work).rejects.toThrow(kind)
    await expect(work).rejects.toThrow(message)
    if (before === null && existsSync(results)) expect(readdirSync(results)).toEqual([])
  })

  test('results of before stay as they are', async () => {
    await run('first', results)
    const before = readdirSync(results).map((f) => [f, readFileSync(join(results, f), 'hex')])
    await expect(run('mistakes/timed-line', results)).rejects.toThrow(ScenarioError)
    await expect(run('refused/gzip', results)).rejects.toThrow(CaptureError)
    expect(readdirSync(results).map((f) => [f, readFileSync(join(results, f), 'hex')])).toEqual(before)
  })
})

describe('the same input gives the same output', () => {
  test.each(['first', 'neigh-goes-and-comes'])('%s', async (folder) => {
    const read = (dir: string) => readdirSync(dir).map((f) => [f, readFileSync(join(dir, f), 'hex')])
    await run(folder, join(out, 'once'))
    await run(folder, join(out, 'again'))
    expect(read(join(out, 'again'))).toEqual(read(join(out, 'once')))
    expect(readdirSync(join(out, 'once')).sort()).toEqual([
      'filters.json',
      'log.txt',
      'out-p0.pcap',
      'out-p1.pcap',
      'summary.json',
    ])
    rmSync(join(out, 'once'), { recursive: true })
    rmSync(join(out, 'again'), { recursive: true })
  })

  test('also read by pcap-parser', async () => {
    const scenario = loadScenario(join(root, 'first'))
    const ours = await replay(scenario)
    expect(await replay(scenario, { pcapBackend: 'pcap-parser' })).toEqual(ours)
  })
})

test('events have the moment at which they happened', async () => {
  const events = join(out, 'events.json')
  await replay(loadScenario(join(root, 'neigh-goes-and-comes')), { events })
  const neighbours = readFileSync(events, 'utf8')
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l))
    .filter((e) => e.event === 'neigh_state')
  expect(neighbours.map((e) => e.time / 1e6)).toEqual([0, 450, 450, 750, 1100])
})

test('every switch of path is in the events, with the trace points of the flow', async () => {
  const events = join(out, 'events.txt')
  await replay(loadScenario(join(root, 'neigh-goes-and-comes')), { events })
  const lines = readFileSync(events, 'utf8')
    .trim()
    .split('\n')
    .filter((l) => !/neigh_state|update_neigh_used_value/.test(l))
  expect(lines).toEqual([
    '0.000000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=1 why=none',
    '0.000000000: mlx5e_configure_flower: cookie=0000000000100000 actions= TUNNEL_ENCAP REDIRECT ',
    '0.450000000: mlx5e_rep_neigh_update: netdev: p1 MAC: 00:00:00:00:00:00 IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=0',
    '0.450000000: flow_path: cookie=0000000000100000 path=slow why=neigh_none',
    '0.450000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=0 why=neigh_none',
    '0.750000000: mlx5e_rep_neigh_update: netdev: p1 MAC: 02:11:00:00:01:02 IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=1',
    '0.750000000: flow_path: cookie=0000000000100000 path=fast why=none',
    '0.750000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=1 why=none',
    '1.100000000: mlx5e_rep_neigh_update: netdev: p1 MAC: 02:11:00:00:01:ff IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=1',
    '1.100000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=1 why=none',
    '1.550000000: mlx5e_stats_flower: cookie=0000000000100000 bytes=582 packets=16 lastused=1201',
    '2.560000000: mlx5e_stats_flower: cookie=0000000000100000 bytes=730 packets=20 lastused=1601',
  ])
})

test('a neighbour that goes and comes: packets wait, then follow it', async () => {
  const { log, summary } = await run('neigh-goes-and-comes')
  expect(summary.packets).toMatchObject({ in: 20, dropped: 0 })
  expect(log.map((e) => [e.where, e.time / 1e6, e.failed])).toEqual([
    ['rules.tc:10', 1550, ''],
    ['rules.tc:11', 2500, ''],
  ])
  const dir = join(out, 'neigh-goes-and-comes')
  const window = new Uint8Array(1 << 20)
  const c = openCapture(join(dir, 'out-p1.pcap'), { window })
  const sent: [ms: number, mac: string][] = []
  for (let n = c.next(); n > 0; n = c.next())
    for (let i = 0; i < n; i++) {
      const at = c.frames.offset[i]
      // Not the ARP requests for the neighbour while it is away.
      if (window[at + 12] === 8 && window[at + 13] === 0)
        sent.push([
          Math.round(c.epoch * 1000 + c.frames.time[i] / 1e6),
          Buffer.from(window.subarray(at + 4, at + 6)).toString('hex'),
        ])
    }
  c.close()
  // 500, 600 and 700 ms wait until the neighbour is back at 750 ms; from the 13th packet on it has another MAC.
  const at = (ms: number, mac: string) => [ms, mac]
  expect(sent).toEqual([
    ...[0, 100, 200, 300, 400, 750, 750, 750, 800, 900, 1000, 1100].map((ms) => at(ms, '0102')),
    ...[1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900].map((ms) => at(ms, '01ff')),
  ])
})
