// What a trace says, word by word, and that it changes nothing.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { replay } from '../replay/replay.ts'
import { loadScenario, scenarioOf } from '../replay/scenario.ts'
import { traceText } from './text.ts'
import { type PacketTrace, trace } from './trace.ts'

// The first of them may have to build the datapath.
const slowly = { timeout: 60_000 }
const root = fileURLToPath(new URL('../../fixtures/', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-trace-'))
afterAll(() => rmSync(dir, { recursive: true }))
const scenario = (name: string) => loadScenario(join(root, name))

async function told(name: string, only?: number): Promise<PacketTrace[]> {
  const all: PacketTrace[] = []
  await trace(scenario(name), (t) => all.push(t), only)
  return all
}

/** Packets of a case, by number; 0: what happened by itself. */
async function text(name: string, ...packets: number[]): Promise<string> {
  const all = await told(name)
  return `\n${all
    .filter((t) => packets.includes(t.packet ?? 0))
    .map(traceText)
    .join('\n')}\n`
}

describe('in words', slowly, () => {
  test('first: encap, decap, a filter that drops, the slow path, a next hop that does not answer', async () => {
    expect(await text('first', 1, 5, 14, 15, 16, 19, 0)).toMatchInlineSnapshot(`
      "
      packet 1, 0.000 ms: in p0: 02:aa:00:00:00:0b > 02:aa:00:00:00:15, 10.0.0.11 > 10.0.0.21 udp 5000 > 4040, 52 bytes
        p0 ingress
          chain 0 pref 10 handle 1: ip_proto tcp, packet has udp
          chain 0 pref 20 handle 1: match (eth_type ipv4, dst_ip 10.0.0.21/32)
            actions: tunnel_key set(src_ip 10.0.1.1, dst_ip 10.0.1.2, id 100, dst_port 4789, flag csum) → redirect vxlan0
            fast path
        encap: 50 bytes of headers, towards p1
        out p1: 02:00:00:00:00:01 > 02:11:00:00:01:02, 10.0.1.1 > 10.0.1.2 udp 35545 > 4789, vxlan 100 [02:aa:00:00:00:0b > 02:aa:00:00:00:15, 10.0.0.11 > 10.0.0.21 udp 5000 > 4040], 102 bytes
      packet 5, 16.000 ms: in p1: 02:11:00:00:01:02 > 02:00:00:00:00:01, 10.0.1.2 > 10.0.1.1 udp 49152 > 4789, vxlan 100 [02:aa:00:00:00:15 > 02:aa:00:00:00:0b, 10.0.0.21 > 10.0.0.11 udp 4040 > 5000], 100 bytes
        decapsulated: up from vxlan0: 02:aa:00:00:00:15 > 02:aa:00:00:00:0b, 10.0.0.21 > 10.0.0.11 udp 4040 > 5000, 50 bytes
        vxlan0 ingress
          chain 0 pref 10 handle 1: match (enc_key_id 100)
            actions: tunnel_key unset → redirect p0
        out p0: 02:aa:00:00:00:15 > 02:aa:00:00:00:0b, 10.0.0.21 > 10.0.0.11 udp 4040 > 5000, 50 bytes
      packet 14, 52.000 ms: in p0: 02:aa:00:00:00:0b > 02:aa:00:00:00:15, 10.0.0.11 > 10.0.0.21 tcp 40001 > 23, 54 bytes
        p0 ingress
          chain 0 pref 10 handle 1: match (eth_type ipv4, ip_proto tcp, dst_port 23)
            actions: drop
          verdict drop
        drop filter: A filter said drop.
      packet 15, 55.000 ms: in p1: 02:11:00:00:01:02 > 02:00:00:00:00:01, 10.0.1.2 > 10.0.1.1 udp 49152 > 4789, vxlan 999 [02:aa:00:00:00:15 > 02:aa:00:00:00:0b, 10.0.0.21 > 10.0.0.11 udp 4040 > 5001], 101 bytes
        decapsulated: up from vxlan0: 02:aa:00:00:00:15 > 02:aa:00:00:00:0b, 10.0.0.21 > 10.0.0.11 udp 4040 > 5001, 51 bytes
        vxlan0 ingress
          chain 0 pref 10 handle 1: enc_key_id 100, packet has 999
          chain 0: no filter matched
        drop otherhost: Addressed to another station than the device that received it.
      packet 16, 60.000 ms: in p0: 02:aa:00:00:00:0b > 02:aa:00:00:00:16, 10.0.0.11 > 10.0.0.22 udp 5100 > 7, 58 bytes
        p0 ingress
          chain 0 pref 10 handle 1: ip_proto tcp, packet has udp
          chain 0 pref 20 handle 2: match (eth_type ipv4, dst_ip 10.0.0.22/32)
            actions: tunnel_key set(src_ip 10.0.1.1, dst_ip 10.0.1.3, id 100, dst_port 4789, flag csum) → redirect vxlan0
            slow path: the next hop has not been asked for
        to the host from vxlan0: no header is ready: it is sent from there, or waits for the next hop
        encap: 50 bytes of headers, towards p1
        out p1: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, arp who has 10.0.1.3, says 10.0.1.1, 42 bytes
      packet 19, 75.000 ms: in p1: 02:11:00:00:01:03 > 02:00:00:00:00:01, arp 10.0.1.3 is at 02:11:00:00:01:03, 42 bytes
        to the host from p1: local input
        out p1: 02:00:00:00:00:01 > 02:11:00:00:01:03, 10.0.1.1 > 10.0.1.3 udp 51770 > 4789, vxlan 100 [02:aa:00:00:00:0b > 02:aa:00:00:00:16, 10.0.0.11 > 10.0.0.22 udp 5100 > 7], 108 bytes
        out p1: 02:00:00:00:00:01 > 02:11:00:00:01:03, 10.0.1.1 > 10.0.1.3 udp 51770 > 4789, vxlan 100 [02:aa:00:00:00:0b > 02:aa:00:00:00:16, 10.0.0.11 > 10.0.0.22 udp 5100 > 7], 108 bytes
        out p1: 02:00:00:00:00:01 > 02:11:00:00:01:03, 10.0.1.1 > 10.0.1.3 udp 51770 > 4789, vxlan 100 [02:aa:00:00:00:0b > 02:aa:00:00:00:16, 10.0.0.11 > 10.0.0.22 udp 5100 > 7], 108 bytes
        drop host_consumed: Delivered to the host, where it ended.
      by itself, until 4110.000 ms
        out p1: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, arp who has 10.0.1.4, says 10.0.1.1, 42 bytes
        out p1: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, arp who has 10.0.1.4, says 10.0.1.1, 42 bytes
        drop neigh_failed: The next hop did not answer.
        drop neigh_failed: The next hop did not answer.
        drop neigh_failed: The next hop did not answer.
      "
    `)
  })

  test('pref-order: masks tried in order of pref, the field that differed, continue', async () => {
    expect(await text('kernel/pref-order', 1, 4)).toMatchInlineSnapshot(`
      "
      packet 1, 0.000 ms: in p0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes
        p0 ingress
          chain 0 pref 100 handle 1: dst_port 53, packet has 50
          chain 0 pref 150 handle 1: dst_ip 1.1.1.5/32, packet has 1.1.1.0
          chain 0 pref 200 handle 1: match (dst_mac 02:bb:00:00:00:01)
            actions: continue
          verdict continue
          chain 0 pref 300 handle 1: match (eth_type ipv4, dst_ip 1.1.1.0/24)
            actions: redirect p1
        out p1: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes
      packet 4, 6.000 ms: in p0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.3 udp 1003 > 53, 52 bytes
        p0 ingress
          chain 0 pref 100 handle 1: match (eth_type ipv4, ip_proto udp, dst_port 53)
            actions: redirect p2
        out p2: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.3 udp 1003 > 53, 52 bytes
      "
    `)
  })

  test('chain-goto: chains gone to, and the miss at the end of one', async () => {
    expect(await text('kernel/chain-goto', 1, 5)).toMatchInlineSnapshot(`
      "
      packet 1, 0.000 ms: in p0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes
        p0 ingress
          chain 0 pref 10 handle 1: match (eth_type ipv4, dst_ip 1.1.1.0/24)
            actions: goto chain 1
          verdict goto chain
          chain 1 pref 10 handle 1: dst_port 53, packet has 50
          chain 1 pref 20 handle 1: dst_ip 1.1.1.4/32, packet has 1.1.1.0
          chain 1 pref 30 handle 1: dst_ip 1.1.1.4/32, packet has 1.1.1.0
          chain 1: no filter matched
        drop otherhost: Addressed to another station than the device that received it.
      packet 5, 8.000 ms: in p0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.4 udp 1004 > 54, 52 bytes
        p0 ingress
          chain 0 pref 10 handle 1: match (eth_type ipv4, dst_ip 1.1.1.0/24)
            actions: goto chain 1
          verdict goto chain
          chain 1 pref 10 handle 1: dst_port 53, packet has 54
          chain 1 pref 20 handle 1: match (eth_type ipv4, dst_ip 1.1.1.4/32)
            actions: continue
          verdict continue
          chain 1 pref 30 handle 1: match (eth_type ipv4, dst_ip 1.1.1.4/32)
            actions: redirect p3
        out p3: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.4 udp 1004 > 54, 52 bytes
      "
    `)
  })

  test('decap-vxlan: the hook of the tunnel device, and drops by name', async () => {
    expect(await text('kernel/decap-vxlan', 1, 2, 11, 21, 22, 28)).toMatchInlineSnapshot(`
      "
      packet 1, 0.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, 10.0.0.2 > 10.0.0.1 udp 50000 > 4789, vxlan 100 [02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53], 98 bytes
        decapsulated: up from vxlan0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53, 48 bytes
        vxlan0 ingress
          chain 0 pref 10 handle 1: match (enc_key_id 100, enc_src_ip 10.0.0.2/32, eth_type ipv4)
            actions: tunnel_key unset → redirect p1
        out p1: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53, 48 bytes
      packet 2, 2.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, 10.0.0.2 > 10.0.0.1 udp 50000 > 4789, vxlan 101 [02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53], 98 bytes
        decapsulated: up from vxlan0: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53, 48 bytes
        vxlan0 ingress
          chain 0 pref 10 handle 1: enc_key_id 100, packet has 101
          chain 0 pref 20 handle 1: match (eth_type ipv4)
            actions: vlan push(id 9, protocol 802.1Q, priority 0) → redirect p2
        out p2: 02:aa:00:00:00:01 > 02:bb:00:00:00:01, vlan 9, 9.9.9.9 > 1.1.1.1 udp 1000 > 53, 52 bytes
      packet 11, 20.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, 10.0.0.2 > 10.0.0.1 udp 50000 > 4789, vxlan 101 [02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53], 98 bytes
        drop tunnel_ecn: Congestion was met on the way, by a packet that cannot say so.
      packet 21, 40.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, fd00::2 > fd00::1 udp 50000 > 4789, vxlan 104 [02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53], 118 bytes
        drop udp_csum: A UDP checksum that is wrong, or zero where it must not be.
      packet 22, 42.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, 10.0.0.2 > 10.0.0.1 udp 50000 > 4789, vxlan 100 [cut short], 50 bytes
        drop inner_header: The packet inside a tunnel is cut short.
      packet 28, 54.000 ms: in p0: 02:11:00:00:00:02 > 02:00:00:00:00:00, 10.0.0.2 > 10.0.0.1 udp 50000 > 4789, vxlan 100 [02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.1 udp 1000 > 53], 98 bytes
        drop tunnel_header: A tunnel header that is cut short, or has flags that it must not have.
      "
    `)
  })
})

test('one packet alone says what it says among all', slowly, async () => {
  const all = await told('kernel/pref-order')
  const fourth = all.find((t) => t.packet === 4)
  expect(fourth).toBeDefined()
  expect(await told('kernel/pref-order', 4)).toEqual([fourth])
})

test('the document', slowly, async () => {
  expect((await told('kernel/pref-order', 1))[0]).toMatchInlineSnapshot(`
    {
      "frame": "02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes",
      "packet": 1,
      "port": "p0",
      "steps": [
        {
          "decapsulated": false,
          "device": "p0",
          "frame": "02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes",
          "step": "receive",
        },
        {
          "device": "p0",
          "hook": "ingress",
          "step": "hook",
        },
        {
          "chain": 0,
          "match": {
            "actions": [
              "continue",
            ],
            "handle": 1,
            "match": "dst_mac 02:bb:00:00:00:01",
            "path": "fast",
            "pref": 200,
          },
          "step": "lookup",
          "tries": [
            {
              "flows": 1,
              "handle": 1,
              "has": "50",
              "keyword": "dst_port",
              "pref": 100,
              "protocol": "ip",
              "result": "miss",
              "wants": "53",
            },
            {
              "flows": 1,
              "handle": 1,
              "has": "1.1.1.0",
              "keyword": "dst_ip",
              "pref": 150,
              "protocol": "ip",
              "result": "miss",
              "wants": "1.1.1.5/32",
            },
            {
              "flows": 1,
              "handle": 1,
              "pref": 200,
              "protocol": "all",
              "result": "match",
            },
          ],
        },
        {
          "step": "verdict",
          "verdict": "continue",
        },
        {
          "chain": 0,
          "match": {
            "actions": [
              "redirect p1",
            ],
            "handle": 1,
            "match": "eth_type ipv4, dst_ip 1.1.1.0/24",
            "path": "fast",
            "pref": 300,
          },
          "step": "lookup",
          "tries": [
            {
              "flows": 1,
              "handle": 1,
              "pref": 300,
              "protocol": "ip",
              "result": "match",
            },
          ],
        },
        {
          "frame": "02:aa:00:00:00:01 > 02:bb:00:00:00:01, 9.9.9.9 > 1.1.1.0 udp 1000 > 50, 52 bytes",
          "port": "p1",
          "step": "output",
        },
      ],
      "time": 0,
    }
  `)
})

test('of many flows of a mask, the nearest is told; and the range that a port is outside of', slowly, async () => {
  const rules = join(dir, 'rules.tc')
  const add = 'tc filter add dev p0 ingress protocol ip'
  writeFileSync(
    rules,
    `tc qdisc add dev p0 clsact
${add} pref 10 flower ip_proto udp dst_ip 10.0.0.99 dst_port 4040 action drop
${add} pref 10 flower ip_proto udp dst_ip 10.0.0.21 dst_port 4041 action drop
${add} pref 10 flower ip_proto tcp dst_ip 10.0.0.21 dst_port 4040 action drop
${add} pref 20 flower ip_proto udp dst_port 5000-6000 action drop
`,
  )
  const all: PacketTrace[] = []
  await trace(scenarioOf([rules], [`p0=${join(root, 'first/in-p0.pcap')}`]), (t) => all.push(t), 1)
  expect(`\n${all.map(traceText).join('\n')}\n`).toMatchInlineSnapshot(`
    "
    packet 1, 0.000 ms: in p0: 02:aa:00:00:00:0b > 02:aa:00:00:00:15, 10.0.0.11 > 10.0.0.21 udp 5000 > 4040, 52 bytes
      p0 ingress
        chain 0 pref 10 handle 2 (the nearest of 3): dst_port 4041, packet has 4040
        chain 0 pref 20 handle 1: dst_port 5000-6000, packet has 4040
        chain 0: no filter matched
      drop otherhost: Addressed to another station than the device that received it.
    "
  `)
})

// Every lookup of every packet is compared with the slow one on the way: explain() throws when they differ.
const cases = readdirSync(join(root, 'kernel')).filter((f) => existsSync(join(root, 'kernel', f, 'rules.tc')))
test.each(['first', ...cases.map((f) => `kernel/${f}`)])(
  '%s: computes what a replay computes',
  slowly,
  async (name) => {
    const plain = await replay(scenario(name))
    const ends: PacketTrace[] = []
    const traced = await trace(scenario(name), (t) => ends.push(t))
    expect(traced).toEqual(plain)
    const steps = ends.flatMap((t) => t.steps)
    expect(steps.filter((s) => s.step === 'output').length).toBe(plain.summary.packets.out)
    expect(steps.filter((s) => s.step === 'drop').length).toBe(plain.summary.packets.dropped)
  },
)
