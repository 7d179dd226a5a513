// The short way out of a burst: packets whose flow's program only counts and sends.
//
// What a program and its encap header say is looked at once for all packets that follow each other with the same one,
// and their counters are added to once. In front of each frame goes the header's template, then what differs from packet
// to packet: lengths, identification, ECN, checksum, source port. Whatever else a program does, and a way out that is
// not open, is left to the long way (hook.ts, output.ts, push_header.ts), which says the same of these packets; a test
// compares the two.

import * as E from '../../memory/layout/encap.ts'
import { OP_COUNT, OP_ENCAP, OP_REDIRECT, OP_TUNNEL_UNSET } from '../../memory/layout/program.ts'
import {
  IFF_UP,
  NETDEV_EGRESS,
  NETDEV_FLAGS,
  NETDEV_KIND,
  NETDEV_KIND_PORT,
  NETDEV_QDISC_COUNTER,
  NETDEV_RX_COUNTER,
  NETDEV_TX_COUNTER,
} from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_HEADROOM } from '../../memory/layout/packet.ts'
import { EMIT_OUTPUT, EMIT_SIZE } from '../../memory/layout/worker.ts'
import { STAGE_LEN, STAGE_PROGRAM, STAGE_SIZE, STAGE_SKIP, STAGE_TUNNEL, STAGE_WIRE } from './burst_stage.ts'
import { fold } from './checksum.ts'
import { plainFlowHash } from './entropy.ts'
import { ETH_LEN } from './frame.ts'
import { ecnEncapsulate, takeId } from './push_header.ts'
import { countMany, emissionEnd, emitted } from './state.ts'
import { traceEmit } from './trace.ts'

/** Ops as they stand in programs. */
const COUNT: u32 = OP_COUNT | (2 << 8)
const ENCAP: u32 = OP_ENCAP | (4 << 8)
const REDIRECT: u32 = OP_REDIRECT | (4 << 8)
const UNSET: u32 = OP_TUNNEL_UNSET | (1 << 8)
/** The common kind of header: IPv4 and UDP without checksum, nothing inherited but ECN. */
const COMMON: u32 = E.HEADER_F_UDP | E.HEADER_F_SMALL
/** Bytes in front of a frame that a template is stored to. */
const ROOM: u32 = 64

// How the packets go that are sent at present: their counter and encap header, or 0; tunnel device, or 0, and port.
let counter: u32 = 0
let header: usize = 0
let tunnel: usize = 0
let out: usize = 0
let isOpen: bool = false
// What went this way, by the tunnel device and by the port; what came up from a tunnel device; what the port received.
let sent: u32 = 0
let tunnelBytes: u32 = 0
let outBytes: u32 = 0
let upDev: usize = 0
let upPackets: u32 = 0
let upBytes: u32 = 0
let packets: u32 = 0
let wireBytes: u32 = 0

/**
 * Sends packets from stage `s` on, as far as they have a program and the short way goes. Returns the first stage that it
 * did not send.
 */
export function sendStaged(s: usize, end: usize): usize {
  const first = s
  let e = emissionEnd(<u32>(end - s) / <u32>STAGE_SIZE)
  if (e == 0) return s
  let wire: u32 = 0
  while (s < end) {
    const program = load<u64>(s, STAGE_PROGRAM) // and STAGE_TUNNEL
    if (program == 0 || !follow(<usize>program)) break
    const to = out
    const begun = s
    let bytes: u32 = 0
    do {
      const pkt = load<usize>(s)
      const len = load<u32>(s, STAGE_LEN)
      let data = load<usize>(pkt, PKT_DATA) + load<u32>(s, STAGE_SKIP)
      let size: u32 = 0
      if (header != 0) {
        if (!fits(pkt, data, len)) break
        size = load<u32>(header, E.HEADER_LEN)
        push(data, len)
      }
      store<u64>(pkt, <u64>(data - size) | (<u64>(len + size) << 32), PKT_DATA)
      store<u64>(pkt, <u64>to, PKT_DEV) // and PKT_IIF: none
      store<u64>(e, <u64>pkt | (<u64>to << 32))
      store<u64>(e, EMIT_OUTPUT, 8)
      traceEmit(pkt, to, EMIT_OUTPUT, 0)
      bytes += len
      wire += load<u32>(s, STAGE_WIRE)
      s += STAGE_SIZE
      e += EMIT_SIZE
    } while (s < end && load<u64>(s, STAGE_PROGRAM) == program)
    if (s == begun) break
    countGroup(<u32>(s - begun) / <u32>STAGE_SIZE, bytes, <usize>(program >> 32))
  }
  const n = <u32>(s - first) / <u32>STAGE_SIZE
  emitted(n)
  packets += n
  wireBytes += wire
  return s
}

/** Is there room for the header in front of the frame, and for both on the route? */
// @ts-ignore: decorator
@inline
function fits(pkt: usize, data: usize, len: u32): bool {
  const ipLen = len + load<u32>(header, E.HEADER_LEN) - load<u32>(header, E.HEADER_L3)
  return data - ROOM >= pkt + PKT_HEADROOM && ipLen <= load<u32>(header, E.HEADER_MTU)
}

/** Pushes the header in front of a frame. */
// @ts-ignore: decorator
@inline
function push(data: usize, len: u32): void {
  const hash = plainFlowHash(data)
  const tos = ecnEncapsulate(load<u32>(header, E.HEADER_TOS), load<u8>(data, 15))
  const last = header + (E.HEADER_BYTES + E.HEADER_ROOM_SMALL)
  v128.store(data - 64, v128.load(last - 64))
  v128.store(data - 48, v128.load(last - 48))
  v128.store(data - 32, v128.load(last - 32))
  v128.store(data - 16, v128.load(last - 16))
  const size = load<u32>(header, E.HEADER_LEN)
  const ip = data - size + load<u32>(header, E.HEADER_L3)
  const lenId = (<u32>(data + len - ip) << 16) | takeId()
  const check = ~fold(load<u32>(header, E.HEADER_IP_SUM) + tos + (lenId & 0xffff) + (lenId >>> 16))
  store<u8>(ip, <u8>tos, 1)
  store<u32>(ip, bswap<u32>(lenId), 2)
  store<u16>(ip, bswap<u16>(<u16>check), 10)
  const udp = data - size + load<u32>(header, E.HEADER_L4)
  const port = load<u32>(header, E.HEADER_PORT_MIN) + <u32>((<u64>hash * load<u32>(header, E.HEADER_PORT_COUNT)) >> 32)
  store<u16>(udp, bswap<u16>(<u16>port))
  store<u16>(udp, bswap<u16>(<u16>(data + len - udp)), 4)
}

/** Turns to what the program at `pc` says. False: that is more than to count and to send, or the way out is not open. */
// @ts-ignore: decorator
@inline
function follow(pc: usize): bool {
  counter = 0
  header = 0
  if (load<u32>(pc) == COUNT) {
    counter = load<u32>(pc, 4)
    pc += 8
  }
  const op = load<u32>(pc)
  if (op == ENCAP) {
    const entry = load<usize>(pc, 4)
    header = load<usize>(entry, E.ENCAP_HEADER)
    if (load<u32>(pc, 8) != 0 || header == 0 || load<u32>(header, E.HEADER_FLAGS) != COMMON) return false
    if (load<u32>(header, E.HEADER_LEN) > ROOM || load<u32>(header, E.HEADER_STRIP) != 0) return false
    return turnTo(load<usize>(entry, E.ENCAP_DEV), load<usize>(header, E.HEADER_OUT_DEV))
  }
  if (op == UNSET) pc += 4
  return load<u32>(pc) == REDIRECT && load<u32>(pc, 8) == 0 && turnTo(0, load<usize>(pc, 4))
}

/** Turns to a way out. Is it open: devices up, no filters, a port at its end? */
// @ts-ignore: decorator
@inline
function turnTo(tunnelDev: usize, outDev: usize): bool {
  if (tunnelDev != tunnel || outDev != out) turn(tunnelDev, outDev)
  return isOpen
}

function turn(tunnelDev: usize, outDev: usize): void {
  countSent()
  tunnel = tunnelDev
  out = outDev
  isOpen =
    (load<u32>(out, NETDEV_FLAGS) & IFF_UP) != 0 &&
    load<usize>(out, NETDEV_EGRESS) == 0 &&
    load<u32>(out, NETDEV_KIND) == NETDEV_KIND_PORT &&
    (tunnel == 0 || ((load<u32>(tunnel, NETDEV_FLAGS) & IFF_UP) != 0 && load<usize>(tunnel, NETDEV_EGRESS) == 0))
}

/** Packets that one program sent the way that is turned to, and that came out of the tunnel device `from`, or 0. */
// @ts-ignore: decorator
@inline
function countGroup(n: u32, bytes: u32, from: usize): void {
  const networkBytes = bytes - n * ETH_LEN
  if (counter != 0) countMany(counter, n, networkBytes)
  if (from != 0) countUp(from, n, networkBytes)
  sent += n
  tunnelBytes += networkBytes
  outBytes += header == 0 ? bytes : bytes + n * load<u32>(header, E.HEADER_LEN)
}

/** What the tunnel device and the port count for what was sent by them. */
function countSent(): void {
  if (sent != 0) {
    if (tunnel != 0) countMany(load<u32>(tunnel, NETDEV_TX_COUNTER), sent, tunnelBytes)
    countMany(load<u32>(out, NETDEV_TX_COUNTER), sent, outBytes)
  }
  sent = 0
  tunnelBytes = 0
  outBytes = 0
}

/** Packets came up from a tunnel device. */
// @ts-ignore: decorator
@inline
export function countUp(dev: usize, n: u32, networkBytes: u32): void {
  if (dev != upDev) {
    countCame()
    upDev = dev
  }
  upPackets += n
  upBytes += networkBytes
}

/** What the tunnel device counts for what came up from it, and its filters, which have a flow for each. */
function countCame(): void {
  if (upPackets != 0) {
    countMany(load<u32>(upDev, NETDEV_RX_COUNTER), upPackets, upBytes)
    countMany(load<u32>(upDev, NETDEV_QDISC_COUNTER), upPackets, upBytes)
  }
  upPackets = 0
  upBytes = 0
}

/** A packet that the port received, and that is not sent here. */
// @ts-ignore: decorator
@inline
export function countReceived(wire: u32): void {
  packets++
  wireBytes += wire
}

/**
 * The end of a burst that came by this port, whose filters have seen it if it is `filtered`. The next one looks again which
 * ways out are open.
 */
export function endBurst(dev: usize, filtered: bool): void {
  countSent()
  out = 0
  countCame()
  if (packets != 0) {
    countMany(load<u32>(dev, NETDEV_RX_COUNTER), packets, wireBytes)
    // No staged packet has a tag.
    if (filtered) countMany(load<u32>(dev, NETDEV_QDISC_COUNTER), packets, wireBytes - packets * ETH_LEN)
  }
  packets = 0
  wireBytes = 0
}
