// The constants of hardware (tunnel/hardware.ts): what a rule that is offloaded writes in front of a packet, what the same
// rule writes without a NIC, and what a rule that is not offloaded writes beside one.
import { expect, test } from 'vitest'
import { reserve } from '../memory/arena.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch } from './switch.ts'

const SETUP = [
  'ip addr add 10.0.0.1/24 dev p1',
  'ip addr add fd00::1/64 dev p1',
  'ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:99 dev p1 nud permanent',
  'ip neigh add fd00::2 lladdr 02:00:00:00:00:99 dev p1 nud permanent',
  'ip link add vxlan0 type vxlan external dstport 4789',
  'ip link set vxlan0 up',
  'ip link add geneve0 type geneve external',
  'ip link set geneve0 up',
  'tc qdisc add dev p0 clsact',
]
/** Inner: tos with CE, and DF. */
const frame = (dst: number): Uint8Array => {
  const f = new Uint8Array(80)
  f.set([
    2,
    0,
    0,
    0,
    0,
    2,
    2,
    0,
    0,
    0,
    0,
    1,
    8,
    0,
    0x45,
    0x03,
    0,
    66,
    0,
    1,
    0x40,
    0,
    64,
    17,
    0,
    0,
    10,
    1,
    0,
    1,
    10,
    1,
    0,
    dst,
  ])
  return f
}

interface Outer {
  readonly tos: number
  readonly id: number
  readonly df: boolean
  readonly label: number
  readonly ttl: number
  readonly checksum: boolean
}

function outer(f: Uint8Array): Outer {
  const d = new DataView(f.buffer, f.byteOffset)
  const v6 = d.getUint16(12) === 0x86dd
  return {
    tos: v6 ? (d.getUint16(14) >> 4) & 255 : f[15],
    id: v6 ? 0 : d.getUint16(18),
    df: !v6 && (f[20] & 0x40) !== 0,
    label: v6 ? d.getUint32(14) & 0xfffff : 0,
    ttl: v6 ? f[21] : f[22],
    checksum: d.getUint16(v6 ? 60 : 40) !== 0,
  }
}

/** The second packet of a rule that sends into a tunnel: the first may have gone through the host. */
function sent(profile: 'mlx5' | undefined, key: string, dev: string, more = ''): Outer {
  const ports = [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 }))
  const sw = createSwitch({ ports, arenaBytes: 192 << 20, packets: 1024, profile })
  const out: Uint8Array[] = []
  sw.onOutput((port, address, length) => {
    if (port === 1) out.push(sw.arena.u8.slice(address, address + length))
  })
  for (const line of SETUP) execute(sw, line.split(' '))
  const rule = `tc filter add dev p0 ingress protocol ip pref 1 flower ${more}dst_ip 10.1.0.2`
  const list = `action tunnel_key set ${key} action mirred egress redirect dev ${dev}`
  execute(sw, `${rule} ${list}`.split(' '))
  const address = reserve(sw.arena, 256, 64)
  sw.arena.u8.set(frame(2), address)
  for (let i = 0; i < 2; i++) sw.inputBatch(0, Int32Array.of(address), Int32Array.of(80), Float64Array.of(1e9 + i), 1)
  return outer(out[out.length - 1])
}

const V4 = 'src_ip 10.0.0.1 dst_ip 10.0.0.2 id 5 tos 0x20'
const V6 = 'src_ip fd00::1 dst_ip fd00::2 id 5 tos 0x20'

test('IPv4: no ECN, no id, no checksum', () => {
  const key = `${V4} dst_port 4789`
  expect(sent(undefined, key, 'vxlan0')).toMatchObject({ tos: 0x22, id: 1, checksum: true, ttl: 64 })
  const card = { tos: 0x20, id: 0, df: false, label: 0, ttl: 64, checksum: false }
  expect(sent('mlx5', key, 'vxlan0')).toEqual(card)
  expect(sent('mlx5', `${key} ttl 9`, 'vxlan0')).toEqual({ ...card, ttl: 9 })
})

test('IPv6: no ECN, no checksum', () => {
  const key = `${V6} dst_port 4789`
  expect(sent(undefined, key, 'vxlan0')).toMatchObject({ tos: 0x22, checksum: true })
  expect(sent('mlx5', key, 'vxlan0')).toEqual({ tos: 0x20, id: 0, df: false, label: 0, ttl: 64, checksum: false })
})

test('a Geneve key without ttl: the kernel sends none, the card the default', () => {
  const key = `${V4} dst_port 6081`
  expect(sent(undefined, key, 'geneve0').ttl).toBe(0)
  expect(sent('mlx5', key, 'geneve0').ttl).toBe(64)
})

test('what is not offloaded is the software path', () => {
  expect(sent('mlx5', `${V4} dst_port 4789`, 'vxlan0', 'skip_hw ')).toMatchObject({ tos: 0x22, checksum: true })
})
