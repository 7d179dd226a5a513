// Every way a packet ends without being sent, in a sentence. The numbers are in memory/layout/drop.ts.

import * as Drop from '../memory/layout/drop.ts'

export interface DropReason {
  readonly code: number
  /** What summaries and metrics call it. */
  readonly name: string
  /** What it means, for a reader who asks why. */
  readonly sentence: string
}

const reasons: DropReason[] = []
const reason = (code: number, name: string, sentence: string): void => {
  reasons[code] = { code, name, sentence }
}

reason(Drop.DROP_FILTER, 'filter', 'A filter said drop.')
reason(Drop.DROP_OTHERHOST, 'otherhost', 'Addressed to another station than the device that received it.')
reason(Drop.DROP_NO_PROTOCOL, 'no_protocol', 'No filter took it, and the host has no use for its protocol.')
reason(Drop.DROP_DEV_DOWN, 'dev_down', 'The device was down.')
reason(Drop.DROP_RX_TOO_LONG, 'rx_too_long', 'Longer than the MTU of the port it arrived on, and 18 bytes.')
reason(Drop.DROP_RX_TOO_SHORT, 'rx_too_short', 'Shorter than an Ethernet header.')
reason(Drop.DROP_NO_SLOT, 'no_slot', 'No packet slot was free, or too many packets waited to be received again.')
reason(Drop.DROP_HEADROOM, 'headroom', 'No room in front of the packet for another header.')
reason(
  Drop.DROP_LOOP,
  'loop',
  'Sent in a circle: too many devices inside each other, or a tunnel device saw its own address.',
)
reason(Drop.DROP_RECLASSIFY_LOOP, 'reclassify_loop', 'More than sixteen goto chain and reclassify in one hook.')
reason(Drop.DROP_NO_TUNNEL_KEY, 'no_tunnel_key', 'Sent into an external tunnel device without tunnel_key set.')
reason(Drop.DROP_TUNNEL_AF, 'tunnel_af', 'The tunnel key is of an address family that the tunnel device does not send.')
reason(Drop.DROP_NO_ROUTE, 'no_route', 'No route to the destination.')
reason(Drop.DROP_NEIGH_FAILED, 'neigh_failed', 'The next hop did not answer.')
reason(Drop.DROP_NEIGH_QUEUE_FULL, 'neigh_queue_full', 'Too many packets waited for the next hop to answer.')
reason(Drop.DROP_PKT_TOO_BIG, 'pkt_too_big', 'Larger than the route allows, and not to be fragmented.')
reason(Drop.DROP_IP_HEADER, 'ip_header', 'An IP header for the host with an impossible version or length.')
reason(Drop.DROP_IP_CSUM, 'ip_csum', 'An IPv4 header for the host with a wrong checksum.')
reason(Drop.DROP_UDP_CSUM, 'udp_csum', 'A UDP checksum that is wrong, or zero where it must not be.')
reason(Drop.DROP_UDP_LENGTH, 'udp_length', 'A UDP length that is less than its header or more than the packet.')
reason(Drop.DROP_NO_SOCKET, 'no_socket', 'Nobody listens on the port or protocol.')
reason(
  Drop.DROP_TUNNEL_HEADER,
  'tunnel_header',
  'A tunnel header that is cut short, or has flags that it must not have.',
)
reason(Drop.DROP_NO_VNI, 'no_vni', 'No tunnel device has this tunnel id.')
reason(Drop.DROP_TUNNEL_ECN, 'tunnel_ecn', 'Congestion was met on the way, by a packet that cannot say so.')
reason(Drop.DROP_INNER_HEADER, 'inner_header', 'The packet inside a tunnel is cut short.')
reason(Drop.DROP_FRAG_REASSEMBLY, 'frag_reassembly', 'A fragment that does not fit the others, or there were too many.')
reason(Drop.DROP_FRAG_TIMEOUT, 'frag_timeout', 'Fragments whose others did not come in time.')
reason(Drop.DROP_FRAG_DUPLICATE, 'frag_duplicate', 'A fragment that was there already.')
reason(Drop.DROP_ARP, 'arp', 'An ARP packet that says nothing the host may use.')
reason(Drop.DROP_ND, 'nd', 'A neighbour discovery packet that says nothing the host may use.')
reason(Drop.DROP_HOST_CONSUMED, 'host_consumed', 'Delivered to the host, where it ended.')
reason(Drop.DROP_TRAP, 'trap', 'A filter said trap, and nobody listens.')
reason(Drop.DROP_DUMMY, 'dummy', 'Sent to a dummy device, which swallows everything.')
reason(Drop.DROP_VLAN, 'vlan', 'A VLAN tag that is cut short.')
reason(Drop.DROP_ACTION, 'action', 'An action could not do its work on the packet.')
reason(Drop.DROP_MIRRED_NEST, 'mirred_nest', 'More than four redirects inside each other.')
reason(Drop.DROP_IP_SOURCE, 'ip_source', 'A source address that no packet may have.')
reason(Drop.DROP_IP_MARTIAN, 'ip_martian', 'A source address that cannot come in by this device.')
reason(Drop.DROP_FORWARDING_OFF, 'forwarding_off', 'For somebody else, and the host does not route.')
reason(Drop.DROP_EMIT_FULL, 'emit_full', 'Too many copies of one packet.')
reason(Drop.DROP_VLAN_UNKNOWN, 'vlan_unknown', 'Tagged with a VLAN that the host is not in.')
reason(Drop.DROP_POLICE, 'police', 'Above the rate that a filter allows.')
reason(Drop.DROP_STOLEN, 'stolen', 'An action took the packet and did not pass it on.')
reason(Drop.DROP_CT, 'ct', 'Connection tracking met what is not IP, or an IP header that is cut short.')
reason(Drop.DROP_CT_FULL, 'ct_full', 'No room for another connection, and none that could be given up.')
reason(Drop.DROP_CT_CLASH, 'ct_clash', 'Another connection has the addresses and ports that this one was to get.')
reason(Drop.DROP_CT_NAT, 'ct_nat', 'The addresses of a packet could not be translated.')
reason(Drop.DROP_CT_FRAGMENT, 'ct_fragment', 'A fragment for connection tracking that could not be put together here.')
reason(Drop.DROP_NEIGH_TABLE_FULL, 'neigh_table_full', 'The neighbour table has no room for another next hop to ask.')
reason(Drop.DROP_IP_OPTIONS, 'ip_options', 'IP options or extension headers that are malformed or not accepted.')
reason(Drop.DROP_FRAG_MEMORY, 'frag_memory', 'Too many datagrams waited for their fragments.')
reason(
  Drop.DROP_TUNNEL_CSUM,
  'tunnel_csum',
  'A GRE checksum that the tunnel device does not want, or none where it does.',
)
reason(Drop.DROP_TUNNEL_SEQ, 'tunnel_seq', 'A GRE sequence number that is missing or older than those before it.')
reason(Drop.DROP_TUNNEL_PROTOCOL, 'tunnel_protocol', 'Of a protocol that the tunnel does not carry.')
reason(Drop.DROP_RING_FULL, 'ring_full', 'More packets than another thread could take: for the host, or for a port.')
reason(Drop.DROP_RX_TRUNCATED, 'rx_truncated', 'The kernel gave only the beginning of the frame.')
reason(Drop.DROP_GSO, 'gso', 'A GSO frame of a kind, or with lengths, that cannot be taken apart into packets.')
reason(Drop.DROP_TX_FULL, 'tx_full', 'The queue of the port it was sent by was full.')
reason(Drop.DROP_TX_REFUSED, 'tx_refused', 'The kernel refused to send it: too long for the device, or not allowed.')
reason(Drop.DROP_PORT_GONE, 'port_gone', 'Sent by a port whose device is not there at the moment.')
reason(Drop.DROP_WORKER_DIED, 'worker_died', 'In the hands of a thread that died.')
reason(Drop.DROP_RX_MISSED, 'rx_missed', 'The kernel had no room left for it in the ring of the port that received it.')

/** All reasons, by number; there is none 0. */
export const dropReasons: readonly DropReason[] = reasons.filter((r) => r !== undefined)

/** The reason's name, or its number where it has none. */
export const dropName = (code: number): string => reasons[code]?.name ?? `reason_${code}`
