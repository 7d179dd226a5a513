// The life of a neighbour, with traffic running: whatever the kernel says of the next hop of a tunnel, the packets follow, and
// the capture at the other end proves it. One stream of numbered datagrams: once a packet has taken the new path, none
// that comes after it may take the old one. The kernel resolves; nothing here speaks ARP or ND but it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { followEvents } from './http_client.ts'
import { type MovingWorld, makeMovingWorld, type Seen, steps } from './moving_world.fixture.ts'
import { whyNoNamespaces } from './netns.fixture.ts'

const skip = whyNoNamespaces('tcpdump')
const patient = { timeout: 30_000, interval: 20 }

describe.each([
  ['af_xdp', 4],
  ['af_packet', 6],
] as const)(`a next hop's life, %s over IPv%i${skip === '' ? '' : ` (skipped: ${skip})`}`, (driver, family) => {
  if (skip !== '') {
    test.skip(skip, () => {})
    return
  }
  let w: MovingWorld
  let hop = ''
  const told: string[] = []
  /** Packets before the step that is tested. */
  let before = 0

  beforeAll(async () => {
    w = await makeMovingWorld(driver, family)
    hop = `${w.nexthop(1)} dev p1`
    void (async () => {
      for await (const { event, data } of followEvents(w.http)) told.push(`${event} ${data.text}`)
    })().catch(() => {})
    w.send(4)
  }, 60_000)
  afterAll(() => w?.close(), 30_000)

  const ip = (line: string): void => void w.f.ip(family === 6 ? `-6 ${line}` : line)
  const macOf = (dev: string): string => /link\/ether (\S+)/.exec(w.b.ip(`link show dev ${dev}`))![1]

  /** Packets have come by an uplink since now, some more than were under way. */
  async function flowing(uplink: number): Promise<void> {
    const from = Math.max(-1, ...w.seen().map((s) => s.number))
    const come = (): number => w.seen().filter((s) => s.number > from && s.uplink === uplink).length
    await expect.poll(come, { timeout: 30_000, interval: 100 }).toBeGreaterThan(20)
  }

  /** Runs `change`, waits until the daemon shows `what`, and packets go by `uplink`; returns them since just before. */
  async function follows(change: () => void, what: object, uplink: number): Promise<Seen[]> {
    before = Math.max(...w.seen().map((s) => s.number))
    change()
    await expect.poll(() => w.encap(), patient).toMatchObject(what)
    await flowing(uplink)
    return w.seen().filter((s) => s.number >= before)
  }

  test('nobody resolved anything: the rule makes the kernel ask', async () => {
    await expect.poll(() => w.encap(), patient).toMatchObject({ fast: true, mac: macOf('b1'), nexthop: hop })
    await flowing(1)
  }, 60_000)

  test('another MAC: from the first packet with it on, none has the old one', async () => {
    const old = macOf('b1')
    const mac = '02:bb:00:00:00:01'
    const since = await follows(
      () => ip(`neigh replace ${w.nexthop(1)} dev p1 lladdr ${mac} nud permanent`),
      { fast: true, mac, nexthop: hop },
      1,
    )
    expect(steps(since, (s) => s.mac)).toEqual([old, mac])
    expect(await w.flow()).toMatchObject({ path: 'fast', why: null })
  }, 60_000)

  test('deleted: the kernel is asked, and says who it is now', async () => {
    const mac = '02:cc:00:00:00:01'
    w.b.ip(`link set b1 address ${mac}`)
    const since = await follows(() => ip(`neigh del ${w.nexthop(1)} dev p1`), { fast: true, mac, nexthop: hop }, 1)
    expect(steps(since, (s) => s.mac)).toEqual(['02:bb:00:00:00:01', mac])
  }, 60_000)

  test('failed: the rule is slow and says why, no packet leaves; and back', async () => {
    // Whoever is asked is not there.
    const address = `${w.nexthop(1)}/${family === 4 ? 24 : 64} dev b1`
    w.b.ip(`addr del ${address}`)
    ip(`neigh del ${w.nexthop(1)} dev p1`)
    await expect.poll(async () => (await w.encap()).why, patient).toBe('neigh_failed')
    expect(await w.flow()).toMatchObject({ path: 'slow', why: { name: 'neigh_failed' } })
    const more = async (): Promise<number> => {
      const n = w.seen().length
      await new Promise((resolve) => setTimeout(resolve, 200))
      return w.seen().length - n
    }
    await expect.poll(more, patient).toBe(0)
    const since = await follows(() => void w.b.ip(`addr add ${address} nodad`), { fast: true, mac: macOf('b1') }, 1)
    expect(steps(since, (s) => s.mac)).toEqual([macOf('b1')])
  }, 60_000)

  test('the route moves to another uplink, and back', async () => {
    const there = await follows(
      () => ip(`route replace ${w.end} via ${w.nexthop(2)} dev p2`),
      { fast: true, out: 'p2', mac: macOf('b2') },
      2,
    )
    expect(steps(there, (s) => s.uplink)).toEqual([1, 2])
    const back = await follows(
      () => ip(`route replace ${w.end} via ${w.nexthop(1)} dev p1`),
      { fast: true, out: 'p1' },
      1,
    )
    expect(steps(back, (s) => s.uplink)).toEqual([2, 1])
  }, 60_000)

  test('the link goes down: the other route is taken; it comes up, and the first one is', async () => {
    ip(`route add ${w.end} via ${w.nexthop(2)} dev p2 metric 4000`)
    const there = await follows(() => ip('link set p1 down'), { fast: true, out: 'p2' }, 2)
    expect(steps(there, (s) => s.uplink)).toEqual([1, 2])
    const back = await follows(
      () => {
        ip('link set p1 up')
        ip(`route replace ${w.end} via ${w.nexthop(1)} dev p1`)
      },
      { fast: true, out: 'p1' },
      1,
    )
    expect(steps(back, (s) => s.uplink)).toEqual([2, 1])
  }, 60_000)

  test('a busy next hop is confirmed again and never stale; an idle one ages', async () => {
    const monitor = w.f.start('ip', 'monitor', 'neigh')
    let said = ''
    monitor.stdout!.on('data', (text) => {
      said += text
    })
    const ours = (): string[] => said.split('\n').filter((line) => line.startsWith(w.nexthop(1)) && /dev p1/.test(line))
    try {
      await expect
        .poll(() => ours().filter((line) => /REACHABLE/.test(line)).length, { timeout: 90_000 })
        .toBeGreaterThan(1)
      expect(ours().filter((line) => /STALE/.test(line))).toEqual([])
      w.silence()
      await expect.poll(() => w.f.ip(`neigh show ${hop}`), { timeout: 90_000 }).toContain('STALE')
      const last = ours().length
      await new Promise((resolve) => setTimeout(resolve, 2000))
      expect(
        ours()
          .slice(last)
          .filter((line) => /PROBE|REACHABLE/.test(line)),
      ).toEqual([])
      // Stale is good for who has no better: the header stays.
      expect(await w.encap()).toMatchObject({ fast: true, mac: macOf('b1') })
    } finally {
      monitor.kill()
    }
  }, 240_000)

  test('the trace points were told', () => {
    const events = new Set(told.map((line) => line.split(' ')[0]))
    expect([...events]).toEqual(
      expect.arrayContaining([
        'mlx5e_rep_neigh_update',
        'mlx5e_tc_update_neigh_used_value',
        'neigh_state',
        'encap_state',
      ]),
    )
  })
})
