// Rules that look at every key there is and do everything there is: for replays of whatever captures there are. Nearly
// all of them say `continue` in the end, so that a packet meets them all, and what one made of it the next one sees.
//
// everything.test.ts proves that no keyword of match/ and no kind of action/ is left out.

const SETUP = `ip addr add 10.0.1.1/24 dev p1
ip addr add fd00:1::1/64 dev p1
ip neigh add 10.0.1.2 lladdr 02:11:00:00:01:02 dev p1 nud permanent
ip link set p0 mtu 9000
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
ip link add geneve0 type geneve external
ip link set geneve0 up
tc qdisc add dev p0 clsact
tc qdisc add dev p1 clsact
tc qdisc add dev p2 ingress_block 22 clsact
tc qdisc add dev vxlan0 clsact
tc qdisc add dev geneve0 clsact`

/** A match, by the protocol that it needs. */
const MATCHES: Readonly<Record<string, readonly string[]>> = {
  all: [
    'dst_mac 02:00:00:00:00:00/01:00:00:00:00:00',
    'src_mac 02:aa:00:00:00:01',
    'indev p0',
    'ct_state -trk',
    'ct_zone 5',
    'ct_mark 1/0xff',
    'ct_label 0102030405060708090a0b0c0d0e0f10',
    'num_of_vlans 2',
    'l2_miss 0',
    'enc_key_id 5',
    'enc_flags tuncsum',
  ],
  ip: [
    'ip_tos 0x10/0xfc',
    'ip_ttl 64/0xf0',
    'ip_flags nofrag',
    'ip_flags frag/firstfrag',
    'dst_ip 10.0.0.0/8 src_ip 192.168.0.0/16',
    'ip_proto tcp dst_port 80 src_port 1024-65535',
    'ip_proto tcp tcp_flags 0x2/0x12',
    'ip_proto udp dst_port 53/0xfff0',
    'ip_proto sctp src_port 1-2000',
    'ip_proto icmp type 8 code 0',
    'ip_proto l2tp l2tpv3_sid 1',
    'ip_proto esp spi 0x00000001',
    'enc_dst_ip 10.0.1.1 enc_src_ip 10.0.1.2 enc_dst_port 4789 enc_tos 0x10/0x10 enc_ttl 64/0x40',
    'enc_key_id 7 geneve_opts 0102:80:01020304/ffff:ff:ffffffff',
    'enc_key_id 7 vxlan_opts 5/0xff',
    'enc_key_id 7 erspan_opts 1:5:0:0',
    'enc_key_id 7 gtp_opts 1:5/ff:ff',
  ],
  ipv6: [
    'ip_proto icmpv6 type 135',
    'dst_ip fe80::/10 src_ip ::/0',
    'ip_proto udp dst_port 53',
    'ip_tos 0/0x3 ip_ttl 255',
    'enc_dst_ip fd00:1::1',
  ],
  arp: ['arp_op request arp_tip 10.0.0.0/8 arp_sip 0.0.0.0/0', 'arp_sha 02:aa:00:00:00:01 arp_tha 00:00:00:00:00:00'],
  '802.1Q': [
    'vlan_id 5 vlan_prio 3',
    'vlan_ethtype ip ip_proto tcp',
    'vlan_ethtype 802.1Q cvlan_id 7 cvlan_prio 0 cvlan_ethtype ipv6',
  ],
  '802.1ad': ['vlan_id 100 vlan_ethtype 802.1Q cvlan_id 6'],
  mpls_uc: ['mpls_label 16 mpls_tc 0 mpls_bos 1 mpls_ttl 64', 'mpls lse depth 1 label 17 lse depth 2 bos 1'],
  ppp_ses: ['pppoe_sid 1', 'ppp_proto ip'],
  '0x8902': ['cfm mdl 3 op 1'],
}

/** Lists of actions that leave the packet for the next rule. */
const ACTIONS: readonly string[] = [
  'continue random determ drop 7',
  'vlan push id 7 priority 2',
  'vlan modify id 9 protocol 802.1ad',
  'vlan pop',
  'pedit ex munge eth dst set 02:00:00:00:00:55 munge ip ttl add 255 munge ip dst set 10.0.1.2 pipe',
  'pedit ex munge ip6 hoplimit set 5 munge tcp dport set 81 munge udp sport add 1 pipe',
  'pedit munge offset 0 u8 set 0x45 munge offset 2 u16 invert munge offset 12 u32 set 0x0a000001 pipe',
  'csum ip4h icmp igmp tcp udp udplite sctp pipe',
  'nat ingress 10.0.0.0/8 192.168.0.1 pipe',
  'nat egress 192.168.0.0/16 10.9.0.0 pipe',
  'police rate 1gbit burst 100k mtu 2000 conform-exceed pipe/pipe',
  'police pkts_rate 1000 pkts_burst 10 conform-exceed continue/pipe',
  'skbedit mark 7/0xff priority 1:2 queue_mapping 0 ptype host',
  'skbedit inheritdsfield',
  'skbmod set smac 02:00:00:00:00:66 pipe',
  'skbmod swap mac pipe',
  'skbmod ecn pipe',
  'sample rate 3 group 5 trunc 64',
  'simple sdata "seen"',
  'gate clockid CLOCK_TAI sched-entry open 200000000ns -1 -1 sched-entry close 100000000ns',
  'connmark zone 3',
  'ctinfo dscp 0xfc000000 0x02000000',
  'mirred egress mirror dev p2',
  'mirred ingress mirror dev p3',
  'tunnel_key set id 9 src_ip 10.0.1.1 dst_ip 10.0.1.2 dst_port 4789 tos 0x10 ttl 9 nocsum action mirred egress mirror dev vxlan0 action tunnel_key unset',
  'tunnel_key set id 7 src_ip 10.0.1.1 dst_ip 10.0.1.2 dst_port 6081 geneve_opts 0102:80:01020304 action mirred egress mirror dev geneve0 action tunnel_key unset',
  'mpls push label 18 ttl 64 action mpls modify label 19 tc 1 action mpls dec_ttl action mpls pop protocol ip',
  'mpls mac_push label 20',
  'vlan pop_eth action vlan push_eth dst_mac 02:00:00:00:00:01 src_mac 02:00:00:00:00:02',
  'ct zone 5',
  'ct commit zone 5 mark 1',
  'ct clear',
]

/** Filters of the other kinds, and what takes a packet that has met everything. */
const REST = `tc filter add dev p0 ingress protocol ip pref 40000 u32 match ip protocol 17 0xff match u16 53 0xffff at nexthdr+2 action continue
tc filter add dev p0 ingress protocol all pref 40001 handle 7/0xff fw action continue
tc filter add dev p0 ingress protocol all pref 40002 matchall action continue
tc filter add dev p0 ingress protocol all pref 40003 flower action goto chain 3
tc filter add dev p0 ingress protocol ip chain 3 pref 1 flower ip_proto tcp action reclassify
tc filter add dev p0 ingress protocol ip chain 3 pref 2 flower ip_proto icmp action trap
tc filter add dev p0 ingress protocol ip chain 3 pref 3 flower ip_proto udp action jump 2 action drop action mirred egress redirect dev p1
tc filter add dev p0 ingress protocol arp chain 3 pref 4 flower action pass
tc filter add dev p0 ingress protocol ipv6 chain 3 pref 5 flower action mirred ingress redirect dev p3
tc filter add dev p0 ingress protocol all chain 3 pref 6 flower action tunnel_key set id 5 src_ip 10.0.1.1 dst_ip 10.0.1.2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev p1 egress protocol all pref 1 flower action csum ip4h udp pipe
tc filter add dev vxlan0 ingress protocol all pref 1 flower enc_key_id 5 action tunnel_key unset action mirred egress redirect dev p2
tc filter add block 22 protocol ip pref 1 flower action drop`

/** Every match, each with the next list of actions; `shift` turns the one against the other. */
export function everything(shift = 0): string {
  const lines = [SETUP]
  let pref = 0
  let next = shift
  for (const [protocol, matches] of Object.entries(MATCHES)) {
    for (const match of matches) {
      const list = ACTIONS[next++ % ACTIONS.length]
      lines.push(
        `tc filter add dev p0 ingress protocol ${protocol} pref ${++pref} flower ${match} action ${list} action continue`,
      )
    }
  }
  return `${lines.join('\n')}\n${REST}\n`
}

/** So many turns, and each match has met each list. */
export const TURNS = ACTIONS.length
