// The loopback device (drivers/net/loopback.c), and broadcasts that the sender hears too (dev_loopback_xmit).
//
// What goes out here comes in again at once. It has been routed already, so nobody asks again whose the addresses are:
// PKT_F_REASSEMBLED says so to the datapath's local input.

import { IFF_LOOPBACK, NETDEV_RX_COUNTER, NETDEV_TX_COUNTER } from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_F_REASSEMBLED, PKT_LEN } from '../memory/layout/packet.ts'
import { netdevFlags, netdevMac } from '../net/netdev.ts'
import * as Eth from '../wire/ethernet.ts'
import { countDevice, type HostState, scrub, setReceived } from './state.ts'

/** A packet with an Ethernet header goes into the host again, by `dev`. The packet is taken. */
export function loopback(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const o = a.m[(pkt + PKT_DATA) >> 2]
  const mac = netdevMac(a, dev)
  for (let i = 0; i < 6; i++) {
    a.u8[o + i] = mac[i]
    a.u8[o + 6 + i] = mac[i]
  }
  scrub(h, pkt)
  if (netdevFlags(a, dev) & IFF_LOOPBACK) {
    const bytes = a.m[(pkt + PKT_LEN) >> 2] - Eth.LEN
    countDevice(h, dev, NETDEV_TX_COUNTER, bytes)
    countDevice(h, dev, NETDEV_RX_COUNTER, bytes)
  }
  setReceived(h, pkt, dev, PKT_F_REASSEMBLED)
  dp.localInput(pkt, dev)
}
