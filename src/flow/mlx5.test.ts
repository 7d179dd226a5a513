// What a ConnectX's driver takes, and what it says to the rest; how tc shows it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findChain } from './chain.ts'
import { PROFILE_MLX5 } from './context.ts'
import { takeFlow } from './flow_table.ts'
import { offloadWhy } from './mlx5.ts'
import { findPrio } from './prio.ts'
import { ingressOf, makeWorld, type World } from './world.model.ts'

let w: World
beforeEach(() => {
  w = makeWorld({ profile: PROFILE_MLX5 })
  w.tc('ip link add vxlan0 type vxlan external dstport 4789')
  w.tc('tc qdisc add dev p0 clsact')
})
afterEach(() => w.tc('tc qdisc del dev p0 clsact'))

const F = 'tc filter add dev p0 ingress protocol ip pref 1 flower'
const SET = 'action tunnel_key set id 5 src_ip 10.0.0.1 dst_ip 10.0.0.2 dst_port 4789'
const OUT = 'action mirred egress redirect dev p1'

/** Why the first filter is not in hardware; undefined when it is. */
function why(): string | undefined {
  const flow = takeFlow(w.a.m, findPrio(w.a.m, findChain(w.a.m, ingressOf(w, 'p0'), 0), 1, 0), 1)
  return offloadWhy(w.c, flow)
}

describe('is offloaded', () => {
  test.each([
    `${F} ip_proto udp dst_port 53 ${OUT}`,
    `${F} ip_proto tcp tcp_flags 2/2 action drop`,
    `${F} dst_ip 10.0.0.0/8 action pass`,
    `${F} dst_ip 10.0.0.0/8 ${SET} action mirred egress redirect dev vxlan0`,
    `${F} action mirred egress mirror dev p1 action vlan push id 5 ${OUT}`,
    `${F} ip_proto tcp action pedit ex munge ip ttl add 255 munge tcp dport set 80 pipe action csum ip4h tcp pipe ${OUT}`,
    `${F} action skbedit ptype host ${OUT}`,
    `${F} action goto chain 3`,
    `${F} skip_sw ip_proto udp dst_port 53 ${OUT}`,
  ])('%s', (line) => {
    w.tc(line)
    expect(why()).toBeUndefined()
    expect(w.json('tc filter show dev p0 ingress')[1].options).toMatchObject({ in_hw: true, in_hw_count: 1 })
    expect(w.tc('tc filter show dev p0 ingress')).toContain('\n  in_hw in_hw_count 1')
  })
})

describe('is not offloaded', () => {
  test.each([
    [`${F} ip_proto sctp dst_port 53 ${OUT}`, 'Only UDP and TCP transports are supported for L4 matching'],
    [`${F} ip_proto udp dst_port 50-60 ${OUT}`, 'Unsupported key: port range'],
    [`${F} ip_flags firstfrag ${OUT}`, 'Match on frag first/later is not supported'],
    [`${F} num_of_vlans 2 ${OUT}`, 'Unsupported key: num_of_vlans'],
    [`${F} ct_state +trk+rel ${OUT}`, "Matching on ct_state +rel isn't supported"],
    [`${F} ${OUT.replace('egress', 'ingress')}`, 'Redirect to ingress is supported only for OVS internal ports'],
    [`${F} action mirred egress mirror dev p1 ${OUT}`, "Can't support duplicate output devices"],
    [`${F} action mirred egress redirect dev vxlan0`, "Devices are not on same switch HW, can't offload forwarding"],
    [`${F} ${SET}`, 'Rule must have at least one forward/drop action'],
    [`${F} action continue`, 'Offload of this verdict is not supported'],
    [`${F} action vlan push id 1 action vlan push id 2 action vlan push id 3 ${OUT}`, 'Too many VLAN tags to push'],
    [`${F} action vlan modify id 5 ${OUT}`, 'VLAN rewrite is supported only with a match on VLAN'],
    [`${F} action csum ip4h pipe ${OUT}`, 'Checksum update is supported only behind pedit'],
    [`${F} action skbedit mark 5 ${OUT}`, 'Of skbedit only ptype is supported'],
    [`${F} action pedit munge offset 0 u32 set 1 pipe ${OUT}`, 'Legacy pedit offload is not supported'],
    [`${F} action pedit ex munge ip dst set 1.1.1.1 pipe ${OUT}`, "Can't offload re-write of non TCP/UDP"],
    [`${F} action nat ingress 10.0.0.0/8 1.1.1.1 pipe ${OUT}`, 'The offload action is not supported: nat'],
    [`${F} action pass hw_stats disabled`, "Driver doesn't support the selected HW stats type"],
    [`${F} skip_hw ${OUT}`, 'The rule says skip_hw'],
  ])('%s: %s', (line, reason) => {
    w.tc(line)
    expect(why()).toBe(reason)
    const [, shown] = w.json('tc filter show dev p0 ingress')
    expect(shown.options.not_in_hw).toBe(true)
    expect(shown.options.in_hw).toBeUndefined()
    if (line.includes('skip_hw')) return
    w.tc('tc filter del dev p0 ingress')
    expect(() => w.tc(line.replace(' flower', ' flower skip_sw'))).toThrow(`Error: mlx5_core: ${reason}`)
  })

  test('other kinds, and egress hooks', () => {
    w.tc('tc filter add dev p0 ingress protocol ip pref 1 matchall action pass')
    expect(why()).toBe('Filters of kind matchall are not offloaded')
    w.tc(`tc filter add dev p0 egress protocol ip pref 1 flower ${OUT}`)
    expect(w.json('tc filter show dev p0 egress')[1].options.not_in_hw).toBe(true)
  })
})

test('without the profile nothing is in hardware, and nobody asks why', () => {
  const plain = makeWorld()
  plain.tc('tc qdisc add dev p0 clsact')
  plain.tc(`${F} ${OUT}`)
  expect(plain.json('tc filter show dev p0 ingress')[1].options.not_in_hw).toBe(true)
  expect(() => plain.tc(`${F.replace('pref 1', 'pref 2')} skip_sw ${OUT}`)).toThrow('Operation not supported')
})
