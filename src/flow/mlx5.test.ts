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
  for (const line of DEVICES) w.tc(`ip link add ${line}`)
  for (const dev of ['p0', 'vxlan0', 'geneve0', 'gretap0', 'gre1', 'mpls0']) w.tc(`tc qdisc add dev ${dev} clsact`)
})
afterEach(() => w.tc('tc qdisc del dev p0 clsact'))

const DEVICES = [
  'vxlan9 type vxlan external dstport 9999',
  'geneve0 type geneve external',
  'gretap0 type gretap external',
  'gre1 type gre external',
  'mpls0 type bareudp dstport 6635 ethertype mpls_uc',
]

const F = 'tc filter add dev p0 ingress protocol ip pref 1 flower'
const SET = 'action tunnel_key set id 5 src_ip 10.0.0.1 dst_ip 10.0.0.2 dst_port 4789'
const OUT = 'action mirred egress redirect dev p1'
const on = (dev: string, protocol = 'ip'): string =>
  `tc filter add dev ${dev} ingress protocol ${protocol} pref 1 flower`
const VXLAN = `${on('vxlan0')} enc_dst_port 4789 enc_key_id 5`
const GENEVE = `${on('geneve0')} enc_dst_port 6081 enc_key_id 5`
const PEDIT = `${F} ip_proto tcp action pedit ex munge`

/** Why the first filter is not in hardware; undefined when it is. */
function why(dev = 'p0', chain = 0): string | undefined {
  const flow = takeFlow(w.a.m, findPrio(w.a.m, findChain(w.a.m, ingressOf(w, dev), chain), 1, 0), 1)
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
    `${F} dst_ip 10.0.0.1 ${SET} nocsum action mirred egress redirect dev gretap0`,
    `${F} dst_ip 10.0.0.1 ${SET} action mirred egress redirect dev geneve0`,
    `${F} ct_state +trk+est-rel-inv ct_zone 5 ct_mark 1 ${OUT}`,
    `${F} action ct zone 5 action goto chain 2`,
    `${F} action ct commit zone 5 ${OUT}`,
    `${F} action sample rate 10 group 5 ${OUT}`,
    `${F} action police rate 1mbit burst 10k conform-exceed drop/pipe ${OUT}`,
    `${VXLAN} enc_tos 3/3 ip_tos 3/3 ${OUT}`,
    `${VXLAN} action tunnel_key unset ${OUT}`,
    `${GENEVE} geneve_opts 0102:80:11223344 ${OUT}`,
    `${on('gretap0')} enc_key_id 5 ${OUT}`,
    `${on('mpls0', 'mpls_uc')} enc_dst_port 6635 mpls_label 5 action mpls pop protocol ip pipe action vlan push_eth dst_mac 02:00:00:00:00:01 src_mac 02:00:00:00:00:02 pipe ${OUT}`,
    `${PEDIT} ip ttl add 255 munge ip dst set 1.1.1.1 munge tcp sport set 5 pipe ${OUT}`,
    `${PEDIT} eth dst set 02:00:00:00:00:01 munge eth src set 02:00:00:00:00:02 pipe ${OUT}`,
    `${PEDIT} ip tos set 0x20 retain 0xfc pipe ${OUT}`,
    'tc filter add dev p0 ingress protocol all pref 1 matchall action police rate 1mbit burst 10k conform-exceed drop/continue',
  ])('%s', (line) => {
    w.tc(line)
    const [, , , dev] = line.replace('tc filter add', 'tc').replace('tc ', 'tc filter add ').split(' ').slice(1)
    expect(why(dev)).toBeUndefined()
    const [, shown] = w.json(`tc filter show dev ${dev} ingress`)
    expect(shown.options).toMatchObject(line.includes('matchall') ? { in_hw: true } : { in_hw: true, in_hw_count: 1 })
    for (const action of shown.options.actions) expect(action.used_hw_stats).toEqual(['delayed'])
    expect(w.tc(`tc filter show dev ${dev} ingress`)).toContain('\n  in_hw')
  })
})

const MATCHALL = (pref: number): string => `tc filter add dev p0 ingress protocol all pref ${pref} matchall`

describe('is not offloaded', () => {
  test.each([
    // keys
    [`${F} l2_miss 1 ${OUT}`, "Can't match on l2_miss"],
    [`${F} num_of_vlans 2 ${OUT}`, 'Unsupported key: num_of_vlans'],
    [`${on('p0', 'ppp_ses')} pppoe_sid 7 ${OUT}`, 'Unsupported key: pppoe'],
    [`${on('p0', '0x8902')} cfm mdl 5 ${OUT}`, 'Unsupported key: cfm'],
    [`${on('p0', 'arp')} arp_op request ${OUT}`, 'Unsupported key: arp'],
    [`${F} ip_proto l2tp l2tpv3_sid 5 ${OUT}`, 'Unsupported key: l2tpv3'],
    [`${F} ip_proto esp spi 5 ${OUT}`, 'Unsupported key: spi'],
    [`${F} ip_proto udp dst_port 50-60 ${OUT}`, 'Unsupported key: port range'],
    [`${F} ip_flags firstfrag ${OUT}`, 'Match on frag first/later is not supported'],
    [`${F} indev p1 ${OUT}`, "Can't match on the ingress filter port"],
    [`${F} ip_proto sctp dst_port 53 ${OUT}`, 'Only UDP and TCP transports are supported for L4 matching'],
    [`${on('p0', 'mpls_uc')} mpls_label 5 ${OUT}`, 'Matching on MPLS is supported only for MPLS over UDP'],
    [`${F} ct_state +trk+rel ${OUT}`, "Matching on ct_state +rel isn't supported"],
    [`${F} ct_state +trk+inv ${OUT}`, "Matching on ct_state +inv isn't supported"],
    [`${F} enc_key_id 5 ${OUT}`, 'Matching on tunnel keys is supported only on a tunnel device'],
    // tunnels
    [`${on('gre1')} enc_key_id 5 ${OUT}`, 'Decapsulation offload is not supported for gre1'],
    [`${on('vxlan0')} enc_key_id 5 ${OUT}`, 'UDP tunnel decap filter must match enc_dst_port'],
    [`${on('vxlan0')} enc_dst_port 9000 ${OUT}`, 'Matched UDP dst port is not registered as a VXLAN port'],
    [`${on('geneve0')} enc_dst_port 9000 ${OUT}`, 'Matched UDP dst port is not registered as a Geneve port'],
    [
      `${on('mpls0', 'mpls_uc')} enc_dst_port 6635 enc_key_id 5 ${OUT}`,
      'Matching on enc_key_id is not supported for MPLS over UDP',
    ],
    [
      `${on('mpls0', 'mpls_uc')} enc_dst_port 6635 mpls lse depth 2 label 5 ${OUT}`,
      'Matching on more than one MPLS entry is not supported',
    ],
    [`${VXLAN} enc_tos 1/1 ${OUT}`, "Partial match on the ECN bits of enc_tos isn't supported"],
    [`${VXLAN} ip_tos 3/3 ${OUT}`, "Match on the ECN bits of tos without those of enc_tos isn't supported"],
    [
      `${VXLAN} enc_tos 3/3 ip_tos 1/1 ${OUT}`,
      "Partial match on the ECN bits of tos with those of enc_tos isn't supported",
    ],
    [`${VXLAN} enc_tos 1/3 ip_tos 1/3 ${OUT}`, "Match on the ECN bits of tos with enc_tos ECT(1) isn't supported"],
    [`${VXLAN} enc_tos 3/3 ip_tos 1/3 ${OUT}`, "Match on the ECN bits of tos with enc_tos CE isn't supported"],
    [`${VXLAN} erspan_opts 1:1:0:0 ${OUT}`, 'Unsupported key: erspan_opts'],
    [
      `${GENEVE} geneve_opts 0102:80:11223344,0103:80:11223344 ${OUT}`,
      'Matching on Geneve options is supported for one option',
    ],
    [`${GENEVE} geneve_opts 0102:80:00000000 ${OUT}`, 'Match on Geneve option data that is zero is not supported'],
    [`${VXLAN} geneve_opts 0102:80:11223344 ${OUT}`, 'Matching on Geneve options is supported only on a Geneve device'],
    [`${GENEVE} vxlan_opts 1 ${OUT}`, 'Matching on VXLAN options is supported only on a VXLAN device'],
    // outputs
    [`${F} ${OUT.replace('egress', 'ingress')}`, 'Redirect to ingress is supported only for OVS internal ports'],
    [`${F} action mirred egress mirror dev p1 ${OUT}`, "Can't support duplicate output devices"],
    [`${F} action mirred egress redirect dev vxlan0`, "Devices are not on same switch HW, can't offload forwarding"],
    [`${F} ${SET}`, 'Rule must have at least one forward/drop action'],
    [`${F} ${SET} action mirred egress redirect dev gretap0`, 'GRE with checksum or sequence is not supported'],
    [
      `${F} ${SET} action mirred egress redirect dev gre1`,
      'Encapsulation offload is not supported for tunnels of this kind',
    ],
    [
      `${F} ${SET.replace('4789', '9000')} action mirred egress redirect dev vxlan0`,
      'VXLAN udp dport was not registered with the HW',
    ],
    [`${F} action continue`, 'Offload of this verdict is not supported'],
    [`${F} action tunnel_key unset action goto chain 2`, 'Goto is not supported with decap in one rule'],
    [`${F} action mirred egress mirror dev p1 action drop`, "Drop can't be offloaded with other actions"],
    // headers
    [`${F} action vlan push id 1 action vlan push id 2 action vlan push id 3 ${OUT}`, 'Too many VLAN tags to push'],
    [`${F} action vlan pop action vlan pop action vlan pop ${OUT}`, 'Too many VLAN tags to pop'],
    [`${F} action vlan modify id 5 ${OUT}`, 'VLAN rewrite is supported only with a match on VLAN'],
    [
      `${on('p0', '802.1Q')} vlan_id 3 action vlan modify id 5 priority 3 ${OUT}`,
      'Changing VLAN prio is not supported',
    ],
    [`${F} action vlan pop_eth ${OUT}`, 'Vlan pop eth is supported only with MPLS push'],
    [
      `${F} action vlan pop_eth action mpls push protocol mpls_uc label 5 ${OUT}`,
      'MPLS push is supported only towards MPLS over UDP',
    ],
    [`${F} action mpls push protocol mpls_mc label 5 ${OUT}`, 'MPLS push is supported only for mpls_uc protocol'],
    [`${F} action mpls dec_ttl ${OUT}`, 'Of mpls only push and pop are supported'],
    [`${on('p0', 'mpls_uc')} action mpls pop protocol ip ${OUT}`, 'MPLS pop is supported only on bareudp devices'],
    [
      `${on('mpls0', 'mpls_uc')} enc_dst_port 6635 action skbedit ptype host action mpls pop protocol ip ${OUT}`,
      'MPLS pop is supported only as the first action',
    ],
    [
      `${on('mpls0', 'mpls_uc')} enc_dst_port 6635 action mpls pop protocol ip ${OUT}`,
      'MPLS pop is supported only with vlan push eth',
    ],
    [
      `${F} action vlan push_eth dst_mac 02:00:00:00:00:01 src_mac 02:00:00:00:00:02 ${OUT}`,
      'Vlan push eth is supported only with MPLS pop',
    ],
    [`${F} action csum ip4h pipe ${OUT}`, 'Checksum update is supported only behind pedit'],
    [
      `${PEDIT} ip ttl set 5 pipe action csum icmp pipe ${OUT}`,
      'Checksum update is supported for IPv4, TCP and UDP only',
    ],
    [`${F} action pedit munge offset 0 u32 set 1 pipe ${OUT}`, 'Legacy pedit offload is not supported'],
    [`${F} action pedit ex munge ip dst set 1.1.1.1 pipe ${OUT}`, "Can't offload re-write of non TCP/UDP"],
    [`${PEDIT} ip tos set 0x20 pipe ${OUT}`, 'Rewrite of this field is not supported'],
    [`${PEDIT} ip dst set 1.1.1.1 munge ip dst set 2.2.2.2 pipe ${OUT}`, 'Disallow acting twice on same location'],
    [`${PEDIT} ip ttl set 5 munge ip ttl add 1 pipe ${OUT}`, "Can't set and add to the same HW field"],
    [`${PEDIT} ip dst set 1.1.1.1 retain 0xff00ff00 pipe ${OUT}`, 'Rewrite of few sub-fields is not supported'],
    // others
    [`${F} action skbedit mark 5 ${OUT}`, 'Of skbedit only ptype is supported'],
    [`${F} action skbedit ptype multicast ${OUT}`, 'Skbedit ptype is supported only with type host'],
    [`${F} action nat ingress 10.0.0.0/8 1.1.1.1 pipe ${OUT}`, 'The offload action is not supported: nat'],
    [`${F} action ct commit zone 5`, "Ct commit can't be the last action"],
    [
      `${F} action police rate 1mbit burst 10k conform-exceed continue/pipe ${OUT}`,
      'Offload is supported only for pipe, ok, jump and drop',
    ],
    [
      `${F} action police rate 1mbit burst 10k peakrate 2mbit mtu 1500 conform-exceed drop/pipe ${OUT}`,
      'Offload is not supported with peakrate, avrate or overhead',
    ],
    [`${F} action pass hw_stats disabled`, "Driver doesn't support the selected HW stats type"],
    [
      `${F} action vlan pop hw_stats delayed action mirred egress redirect dev p1`,
      'Mixing HW stats types for actions is not supported',
    ],
    // other kinds of filters
    [
      `${MATCHALL(2)} action police rate 1mbit burst 10k conform-exceed drop/continue`,
      'Only the first priority is supported for matchall',
    ],
    [`${MATCHALL(1)} classid 1:1`, 'Matchall called with no action'],
    [
      `${MATCHALL(1)} action police rate 1mbit burst 10k conform-exceed drop/continue action pass`,
      'Matchall supports only a single action',
    ],
    [`${MATCHALL(1)} action pass`, 'Matchall supports only the police action'],
    [
      `${MATCHALL(1)} action police rate 1mbit burst 10k conform-exceed drop/continue hw_stats delayed`,
      "Driver doesn't support the selected HW stats type",
    ],
    [
      `${MATCHALL(1)} action police rate 1mbit burst 10k conform-exceed ok/continue`,
      'Offload is supported only when exceed action is drop',
    ],
    [
      `${MATCHALL(1)} action police rate 1mbit burst 10k conform-exceed drop/pipe`,
      'Offload is supported only when conform action is continue',
    ],
    [
      `${MATCHALL(1)} action police pkts_rate 100 pkts_burst 10 conform-exceed drop/continue`,
      'QoS offload does not support packets per second',
    ],
  ])('%s: %s', (line, reason) => {
    const dev = line.split(' ')[4]
    w.tc(line)
    const [, shown] = w.json(`tc filter show dev ${dev} ingress`)
    if (!line.includes('pref 2')) expect(why(dev)).toBe(reason)
    expect(shown.options.not_in_hw).toBe(true)
    w.tc(`tc filter del dev ${dev} ingress`)
    expect(() => w.tc(line.replace(/ (flower|matchall)/, ' $1 skip_sw'))).toThrow(`Error: mlx5_core: ${reason}`)
    if (line.includes('matchall')) return
    expect(w.tc(line.replace(' flower', ' flower verbose'))).toContain(`Warning: mlx5_core: ${reason}.`)
  })

  test('skip_hw', () => {
    w.tc(`${F} skip_hw ${OUT}`)
    expect(why()).toBe('The rule says skip_hw')
    expect(w.json('tc filter show dev p0 ingress')[1].options.not_in_hw).toBe(true)
  })

  test('a part of enc_options in another chain, and a filter that is taken says nothing with verbose', () => {
    const later = GENEVE.replace('flower', 'chain 2 flower')
    w.tc(`${later} geneve_opts 0102:80:11223344/ffff:ff:ffff0000 ${OUT}`)
    expect(why('geneve0', 2)).toBe('Partial match on tunnel options in chain > 0 is not supported')
    expect(w.tc(`${F} verbose ${OUT}`)).toBe('')
  })

  test('other kinds, and egress hooks', () => {
    w.tc('tc filter add dev p0 ingress protocol ip pref 1 handle 1 fw action pass')
    expect(why()).toBe('Filters of kind fw are not offloaded')
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

test('a replaced action is judged anew, for every filter that uses it', () => {
  w.tc('tc actions add action skbedit ptype host index 7')
  w.tc(`${F} action skbedit index 7 ${OUT}`)
  const shown = (): object => w.json('tc filter show dev p0 ingress')[1].options
  expect(shown()).toMatchObject({ in_hw: true })
  w.tc('tc actions replace action skbedit mark 5 index 7')
  expect(shown()).toMatchObject({ not_in_hw: true })
  w.tc('tc actions replace action skbedit ptype host index 7')
  expect(shown()).toMatchObject({ in_hw: true, in_hw_count: 1 })
})
