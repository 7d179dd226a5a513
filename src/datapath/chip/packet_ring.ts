// The receive ring of an AF_PACKET socket (TPACKET_V3): blocks of frames, each block the kernel's or ours.
//
//   block    status +8 · frames +12 · offset of the first +16
//   frame    offset of the next +0 · snaplen +12 · len +16 · status +20 · offset of the MAC header +24 · tci +32 · tpid +36
//            struct virtio_net_hdr in the ten bytes before the MAC header
//
// A frame is copied into a slot, behind headroom. What the kernel keeps beside a frame is put back into it: the VLAN tag
// that it took off, the part of a checksum that it left to the device. A frame that is many (GSO) is not for here: the
// ring stops in front of it.

import { DROP_NO_SLOT, DROP_RX_TOO_LONG, DROP_RX_TRUNCATED } from '../../memory/layout/drop.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_LEN, PKT_TIME } from '../../memory/layout/packet.ts'
import {
  QUEUE_BASE,
  QUEUE_DEV,
  QUEUE_VECTORS,
  RING_BLOCK,
  RING_BLOCK_COUNT,
  RING_BLOCK_SIZE,
  RING_BLOCKS,
  RING_LEFT,
  RING_NEXT,
} from '../../memory/layout/queue.ts'
import { WORKER_NOW } from '../../memory/layout/worker.ts'
import { BE_8021Q } from './frame.ts'
import { loadFrame } from './packet.ts'
import { complete } from './partial_checksum.ts'
import { alloc, countReason, drop, worker } from './state.ts'

const STATUS_USER: u32 = 1
const STATUS_VLAN_VALID: u32 = 0x10
const STATUS_VLAN_TPID_VALID: u32 = 0x40
const VNET_LEN: usize = 10
const VNET_NEEDS_CSUM: u8 = 1

// @ts-ignore: decorator
@inline
function blockNow(q: usize): usize {
  return load<usize>(q, RING_BLOCKS) + load<u32>(q, RING_BLOCK) * load<u32>(q, RING_BLOCK_SIZE)
}

/** Makes the next block that is ours the one in work. False: there is none. */
function nextBlock(q: usize): bool {
  const block = blockNow(q)
  if ((atomic.load<u32>(block + 8) & STATUS_USER) == 0) return false
  store<u32>(q, load<u32>(block, 12), RING_LEFT)
  store<usize>(q, block + load<u32>(block, 16), RING_NEXT)
  return true
}

/** The frame at RING_NEXT is done with; the block goes back to the kernel behind its last one. */
export function packetStep(q: usize): void {
  const left = load<u32>(q, RING_LEFT)
  if (left > 1) {
    const frame = load<usize>(q, RING_NEXT)
    store<usize>(q, frame + load<u32>(frame), RING_NEXT)
    store<u32>(q, left - 1, RING_LEFT)
    return
  }
  store<u32>(q, 0, RING_LEFT)
  const block = blockNow(q)
  const next = load<u32>(q, RING_BLOCK) + 1
  store<u32>(q, next == load<u32>(q, RING_BLOCK_COUNT) ? 0 : next, RING_BLOCK)
  atomic.store<u32>(block + 8, 0)
}

/**
 * Received packets, at most `max`, into a list of addresses. Returns how many. When it is fewer and RING_LEFT is not 0,
 * the frame at RING_NEXT is a GSO frame.
 */
export function packetReceive(q: usize, list: usize, max: u32): u32 {
  const dev = load<usize>(q, QUEUE_DEV)
  const now = load<u64>(worker, WORKER_NOW)
  let n: u32 = 0
  while (n < max) {
    if (load<u32>(q, RING_LEFT) == 0) {
      if (!nextBlock(q)) break
      if (load<u32>(q, RING_LEFT) == 0) {
        packetStep(q)
        continue
      }
    }
    const frame = load<usize>(q, RING_NEXT)
    const data = frame + load<u16>(frame, 24)
    const vnet = data - VNET_LEN
    if (load<u8>(vnet, 1) != 0) break
    const pkt = take(frame, data, vnet)
    packetStep(q)
    if (pkt == 0) continue
    store<usize>(pkt, dev, PKT_DEV)
    store<u64>(pkt, now, PKT_TIME)
    store<usize>(list + (<usize>n << 2), pkt)
    n++
  }
  return n
}

/** The frame in a slot; 0: it ended under a name. */
function take(frame: usize, data: usize, vnet: usize): usize {
  const len = load<u32>(frame, 16)
  if (load<u32>(frame, 12) < len) {
    countReason(DROP_RX_TRUNCATED)
    return 0
  }
  const pkt = alloc()
  if (pkt == 0) {
    countReason(DROP_NO_SLOT)
    return 0
  }
  if (!loadFrame(pkt, data, len)) {
    drop(pkt, DROP_RX_TOO_LONG)
    return 0
  }
  if ((load<u8>(vnet) & VNET_NEEDS_CSUM) != 0) complete(pkt + PKT_FRAME, len, load<u16>(vnet, 6), load<u16>(vnet, 8))
  const status = load<u32>(frame, 20)
  if ((status & STATUS_VLAN_VALID) != 0) {
    const tpid = (status & STATUS_VLAN_TPID_VALID) != 0 ? bswap<u16>(load<u16>(frame, 36)) : BE_8021Q
    putTag(pkt, tpid, bswap<u16>(<u16>load<u32>(frame, 32)))
  }
  return pkt
}

/** Puts a tag behind the addresses, which move into the headroom. */
export function putTag(pkt: usize, tpid: u16, tci: u16): void {
  const data = load<usize>(pkt, PKT_DATA)
  const low = load<u64>(data)
  const high = load<u32>(data, 8)
  store<u64>(data - 4, low)
  store<u32>(data - 4, high, 8)
  store<u16>(data - 4, tpid, 12)
  store<u16>(data - 4, tci, 14)
  store<usize>(pkt, data - 4, PKT_DATA)
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) + 4, PKT_LEN)
}

/** struct iovec of each packet of a list, for sendmmsg. */
export function packetVectors(q: usize, list: usize, n: u32): void {
  const base = load<u64>(q, QUEUE_BASE)
  let v = load<usize>(q, QUEUE_VECTORS)
  for (let i: u32 = 0; i < n; i++, v += 16) {
    const pkt = load<usize>(list + (<usize>i << 2))
    store<u64>(v, base + <u64>load<u32>(pkt, PKT_DATA))
    store<u64>(v, <u64>load<u32>(pkt, PKT_LEN), 8)
  }
}
