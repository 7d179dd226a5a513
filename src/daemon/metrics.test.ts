// /metrics of a switch: what is there, and that it changes with the switch.
import { afterAll, expect, test } from 'vitest'
import type { FlowContext } from '../flow/context.ts'
import { reserve } from '../memory/arena.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'
import { SEAT_BURSTS } from './datapath_protocol.ts'
import { openMetrics } from './metrics.ts'
import { tables } from './tables/index.ts'

const sw = createSwitch({ ports: [{ name: 'p0', mac: Uint8Array.of(2, 0, 0, 0, 0, 0), mtu: 1500 }], packets: 64 })
afterAll(() => sw.close())

const context = { a: sw.arena, now: 0 } as unknown as FlowContext
const seat = { table: 0, up: 0, state: reserve(sw.arena, 128) }
const open = () =>
  openMetrics({
    arena: sw.arena,
    journal: false,
    syncs: () => 0,
    clients: () => 3,
    seats: [seat],
    requests: () => [{ thread: 'control 0', answered: 7, waiting: 2, lent: 1, deaths: 1 }],
    table: async (name) => tables[name](context, 0, {}),
  })

test('rules, neighbours and encaps by state, threads and what they did', async () => {
  for (const line of [
    'addr add 10.0.1.1/24 dev p0',
    'neigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev p0 nud permanent',
    'link add vxlan0 type vxlan external dstport 4789',
    'link set vxlan0 up',
  ])
    execute(sw, ['ip', ...line.split(' ')])
  const metrics = open()
  const value = async (what: string): Promise<number> =>
    Number(new RegExp(`^flowerbed_${what} (\\S+)$`, 'm').exec((await metrics()).text)?.[1] ?? Number.NaN)
  execute(sw, 'tc qdisc add dev p0 ingress_block 7 clsact'.split(' '))
  const before = await value('rules')
  for (const host of [9, 8])
    execute(
      sw,
      `tc filter add block 7 protocol ip pref ${host} flower action tunnel_key set id 1 src_ip 10.0.1.1 dst_ip 10.0.1.${host} dst_port 4789 action mirred egress redirect dev vxlan0`.split(
        ' ',
      ),
    )
  expect((await value('rules')) - before).toBe(2)
  expect(await value('objects\\{kind="flow"\\}')).toBe(await value('rules'))
  expect(await value('encaps\\{path="fast",why="none"\\}')).toBe(1)
  expect(await value('encaps\\{path="slow",why="\\w+"\\}')).toBe(1)
  expect(await value('neighbours\\{device="p0",state="PERMANENT"\\}')).toBe(1)
  sw.arena.m[(seat.state + SEAT_BURSTS) >> 2] = 5
  expect(await value('datapath_bursts_total\\{worker="1"\\}')).toBe(5)
  expect(await value('requests_total\\{thread="control 0"\\}')).toBe(7)
  expect(await value('clients_lent\\{thread="control 0"\\}')).toBe(1)
  expect(await value('requests_waiting\\{thread="control 0"\\}')).toBe(2)
  expect(await value('thread_deaths_total\\{thread="control 0"\\}')).toBe(1)
  execute(sw, 'tc qdisc del dev p0 clsact'.split(' '))
})

test('devices, drops by name, the encap machine, clients', async () => {
  const metrics = open()
  execute(sw, 'qdisc add dev p0 clsact'.split(' '))
  execute(sw, 'filter add dev p0 ingress protocol all pref 1 matchall action drop'.split(' '))
  const before = (await metrics()).text
  expect(before).toMatch(/^flowerbed_drops_total\{reason="filter"\} 0$/m)
  sw.input(0, new Uint8Array(64).fill(255, 0, 12))
  const { type, text } = await metrics()
  expect(type).toMatch(/^text\/plain/)
  expect(text).toMatch(/^flowerbed_drops_total\{reason="filter"\} 1$/m)
  expect(text).toMatch(/^flowerbed_device_receive_packets_total\{device="p0"\} 1$/m)
  expect(text).toMatch(/^flowerbed_device_up\{device="p0"\} 1$/m)
  expect(text).toMatch(/^flowerbed_clients 3$/m)
  expect(text).toMatch(/^flowerbed_encap_total\{what="headers"\} 1$/m)
})
