// Live ports against the kernel: namespace A ↔ flowerbed ↔ namespace B, whose VXLAN endpoint is the kernel's own device.
//
//   A  a0 10.0.0.1 ── p0 [ flowerbed in F ] p1 ── b0 192.168.77.2, fd77::2  B  vx4, vx6 (kernel) 10.0.0.2, 10.0.6.2
//
// The sizes go to the MTU, offloads of the veths are left as they are: checksums that only begin, and GSO frames, are
// what a machine really sends.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { endLiveWorld, type LiveWorld, makeLiveWorld, transfer } from './live_world.fixture.ts'
import { whyNoNamespaces } from './netns.fixture.ts'

const skip = whyNoNamespaces('ping')
describe.each([
  ['af_packet', {}],
  ['af_xdp', {}],
  ['tap', {}],
] as const)(`%s against the kernel's vxlan device${skip === '' ? '' : ` (skipped: ${skip})`}`, (driver, options) => {
  if (skip !== '') {
    test.skip(skip, () => {})
    return
  }
  let w: LiveWorld
  beforeAll(async () => {
    w = await makeLiveWorld(driver, options)
  }, 60_000)
  afterAll(() => endLiveWorld(w), 30_000)

  test.each([
    ['IPv4', '10.0.0'],
    ['IPv6', '10.0.6'],
  ])(
    'ping over %s, both directions, to the MTU',
    (_, net) => {
      // The first waits for ARP on both levels.
      expect(w.a.run('ping', '-c', '3', '-i', '0.2', '-W', '5', `${net}.2`)).toContain(' 0% packet loss')
      expect(w.b.run('ping', '-c', '3', '-i', '0.2', '-W', '5', `${net}.1`)).toContain(' 0% packet loss')
      expect(w.a.run('ping', '-c', '2', '-i', '0.2', '-s', '1472', '-M', 'do', `${net}.2`)).toContain(' 0% packet loss')
      expect(w.b.run('ping', '-c', '2', '-i', '0.2', '-s', '1472', '-M', 'do', `${net}.1`)).toContain(' 0% packet loss')
    },
    60_000,
  )

  test.each([
    ['IPv4', '10.0.0', 1, 200],
    ['IPv4', '10.0.0', 1448, 300_000],
    ['IPv4', '10.0.0', 65536, 20_000_000],
    ['IPv6', '10.0.6', 65536, 5_000_000],
  ])(
    'TCP over %s, both directions: %s.x in writes of %i, %i bytes, arrives as it was sent',
    async (_, net, size, total) => {
      expect(await transfer(w.a, w.b, `${net}.2`, size, total)).toBe('same')
      expect(await transfer(w.b, w.a, `${net}.1`, size, total)).toBe('same')
    },
    120_000,
  )
})
