// /metrics of a switch: what is there, and that it changes with the switch.
import { afterAll, expect, test } from 'vitest'
import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'
import { openMetrics } from './metrics.ts'

const sw = createSwitch({ ports: [{ name: 'p0', mac: Uint8Array.of(2, 0, 0, 0, 0, 0), mtu: 1500 }], packets: 64 })
afterAll(() => sw.close())

test('devices, drops by name, the encap machine, clients', async () => {
  const metrics = openMetrics({ arena: sw.arena, journal: false, syncs: () => 0, clients: () => 3 })
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
  expect(text).toMatch(/^flowerbed_encap_total\{what="headers"\} 0$/m)
})
