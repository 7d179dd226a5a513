// The tables over HTTP and the commands that show them, on a daemon as users have it.
import { execFile, spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openClient } from '../../rtnl/client.ts'
import { FrontEnd } from '../front_end.ts'
import { getTable } from '../http_client.ts'
import { type DaemonProcess, startProcess } from '../process.fixture.ts'
import type { ConnectionPage } from './connections.ts'
import type { EncapDetail, FlowPage } from './flows.ts'
import type { NeighbourRow, PortRow } from './index.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })
const command = fileURLToPath(new URL('../../../bin/flowerbed', import.meta.url))
let daemon: DaemonProcess
let http: string
let run: (line: string) => Promise<void>

beforeAll(async () => {
  daemon = await startProcess({ ports: [{ name: 'p0' }, { name: 'p1' }] })
  http = join(dirname(daemon.socket), 'http.sock')
  const frontEnd = new FrontEnd(await openClient(daemon.socket), {
    out: () => {},
    err: (text) => {
      throw new Error(text)
    },
    read: () => '',
  })
  run = async (line) => {
    const [program, ...words] = line.split(' ')
    expect(await frontEnd.run(program as 'tc' | 'ip', words)).toBe(0)
  }
  for (const line of [
    'ip addr add 10.0.1.1/24 dev p1',
    'ip neigh add 10.0.1.2 lladdr 02:11:00:00:01:02 dev p1 nud permanent',
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
    'tc qdisc add dev p0 clsact',
    'tc filter add dev p0 ingress protocol ip pref 1 flower dst_ip 1.2.0.0/16 action drop',
    'tc filter add dev p0 ingress protocol ip pref 2 flower dst_ip 1.2.3.4 ip_proto udp action drop',
    'tc filter add dev p0 ingress protocol ip pref 3 flower dst_ip 9.0.0.1 action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.2 id 7 dst_port 4789 action mirred egress redirect dev vxlan0',
    'tc filter add dev p0 ingress protocol ip pref 4 flower dst_ip 9.0.0.2 action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.9 id 8 dst_port 4789 action mirred egress redirect dev vxlan0',
    'tc filter add dev p0 ingress protocol ipv6 pref 5 flower action drop',
  ])
    await run(line)
})
afterAll(() => daemon?.end())

function flowerbed(...words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [command, ...words, '--http', http], (e, out, err) =>
      e === null ? resolve(out) : reject(new Error(err)),
    )
  })
}

test('flows: path, what the tunnel stands on, and who shadows whom', async () => {
  const slow = async (): Promise<string[]> =>
    (await getTable<FlowPage>(http, '/flows')).flows.map((f) => `${f.pref} ${f.path} ${f.why?.name ?? ''}`)
  // The works that a rule posts run behind its acknowledgement.
  await expect
    .poll(slow, { timeout: 20_000 })
    .toEqual(['1 fast ', '2 fast ', '3 fast ', '4 slow neigh_none', '5 fast '])
  const { flows, next } = await getTable<FlowPage>(http, '/flows?why=1')
  expect(next).toBeNull()
  expect(flows.map((f) => f.shadowedBy)).toEqual([null, { pref: 1, handle: 1 }, null, null, null])
  expect(flows[1]).toMatchObject({
    hook: 'p0-ingress',
    chain: 0,
    protocol: 'ip',
    kind: 'flower',
    handle: 1,
    used: null,
  })
  expect(flows[1].match).toMatch(/ip_proto udp|ip_proto 17/)
  expect(flows[2].encaps).toMatchObject([
    {
      dev: 'vxlan0',
      key: 7,
      dst: '10.0.1.2',
      fast: true,
      route: { why: 'none', dev: 'p1', via: '10.0.1.2', src: '10.0.1.1' },
      neighbour: { address: '10.0.1.2', dev: 'p1', state: 'PERMANENT', mac: '02:11:00:00:01:02' },
    },
  ])
  expect(flows[3].encaps).toMatchObject([{ key: 8, fast: false, why: 'neigh_none', neighbour: { state: 'NONE' } }])
})

test('pages and wrong questions', async () => {
  const first = await getTable<FlowPage>(http, '/flows?limit=3')
  expect([first.flows.length, first.next]).toEqual([3, 3])
  const rest = await getTable<FlowPage>(http, `/flows?limit=3&from=${first.next}`)
  expect([rest.flows.map((f) => f.pref), rest.next]).toEqual([[4, 5], null])
  expect((await getTable<FlowPage>(http, '/flows?dev=p1')).flows).toEqual([])
  await expect(getTable(http, '/flows?limmit=3')).rejects.toThrow(/there is no limmit here; there is: why, dev/)
  await expect(getTable(http, '/drops?x=1')).rejects.toThrow(/nothing is asked/)
  await expect(getTable(http, '/flows?limit=no')).rejects.toThrow(/limit: expected a number/)
})

test('encaps, neighbours, ports, drops', async () => {
  const { encaps } = await getTable<{ encaps: EncapDetail[] }>(http, '/encaps')
  expect(encaps.map((e) => [e.key, e.flows])).toEqual([
    [7, 1],
    [8, 1],
  ])
  const { neighbours } = await getTable<{ neighbours: NeighbourRow[] }>(http, '/neighbours')
  expect(neighbours).toMatchObject([{ address: '10.0.1.2', dev: 'p1', state: 'PERMANENT', encaps: 1 }])
  const { ports } = await getTable<{ ports: PortRow[] }>(http, '/ports')
  expect(ports.map((p) => [p.name, p.up, p.mtu, p.mac])).toEqual([
    ['p0', true, 1500, '02:00:00:00:00:00'],
    ['p1', true, 1500, '02:00:00:00:00:01'],
  ])
  expect(await getTable(http, '/drops')).toEqual({ drops: [] })
})

test('the commands: text and JSON', async () => {
  const why = await flowerbed('flow', 'show', '--why')
  expect(why).toMatch(
    /pref 2 .*\n {2}matches .*1\.2\.3\.4.*\n {2}does drop\n {2}shadowed: pref 1 handle 0x1 comes first/,
  )
  expect(why).toMatch(
    /encap 1 dev vxlan0 key 7 .*: fast.*\n {4}route via 10\.0\.1\.2 dev p1 .*\n {4}next hop 10\.0\.1\.2 dev p1 PERMANENT/,
  )
  expect(why).toMatch(/pref 4 .* slow \(the next hop has not been asked for\)/)
  expect(JSON.parse(await flowerbed('flow', 'show', '--json', '--limit', '2')).flows).toHaveLength(2)
  expect(await flowerbed('encap', 'show')).toContain('encap 2 dev vxlan0 key 8')
  expect(await flowerbed('neigh', 'show')).toContain('10.0.1.2 dev p1 PERMANENT lladdr 02:11:00:00:01:02')
  expect(await flowerbed('top', '--count', '1')).toMatch(
    /5 rules, 1 slow; 2 encaps, 1 slow.*THREAD.*\nswitch .*\ncontrol 0 /s,
  )
})

test('of a u32 rule: which words it compares', async () => {
  await run('tc qdisc add dev p1 clsact')
  await run(
    'tc filter add dev p1 ingress protocol ip pref 1 u32 match ip dst 1.2.3.0/24 match u16 5 0xff at nexthdr+2 action drop',
  )
  const { flows } = await getTable<FlowPage>(http, '/flows?dev=p1')
  expect(flows.map((f) => f.match)).toEqual(['01020300/ffffff00 at 16, 00000005/000000ff at nexthdr+0'])
  await run('tc qdisc del dev p1 clsact')
})

test('events come while they happen', async () => {
  const child = spawn(process.execPath, [command, 'events', '--http', http], { stdio: ['ignore', 'pipe', 'inherit'] })
  let heard = ''
  child.stdout.on('data', (text) => {
    heard += text
  })
  try {
    let i = 0
    await expect
      .poll(
        async () => {
          await run(`ip neigh replace 10.0.1.2 lladdr 02:11:00:00:02:${(i++ % 90) + 10} dev p1 nud permanent`)
          return heard
        },
        { timeout: 60_000 },
      )
      .toMatch(/neigh_state: netdev: p1 dst: 10\.0\.1\.2 MAC: 02:11:00:00:02:\d\d state=PERMANENT/)
    expect(heard).toMatch(/mlx5e_rep_neigh_update: netdev: p1/)
  } finally {
    child.kill()
  }
})

test('connections: none yet, and what is asked wrongly', async () => {
  expect(await getTable<ConnectionPage>(http, '/connections')).toEqual({ connections: [], count: 0, earlyDrops: 0 })
  expect(await flowerbed('conntrack', 'show')).toBe('')
  await expect(getTable(http, '/connections?zone=1')).rejects.toThrow('there is no zone here')
})
