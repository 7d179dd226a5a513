// The rings of an AF_XDP socket. The UMEM is the packet slots themselves, so a frame is received into its slot, and sent
// from the slot that it stands in: what goes over the rings are addresses.
//
//   fill   free slots for the kernel     rx     received: address and length
//   tx     to send: address and length   done   sent: the slot is free again
//
// Addresses count from the first slot. With chunks of any size an address has the slot in its low 48 bits and where in
// it the frame begins above; with aligned chunks the frame's address says both (net/xdp/xsk_buff_pool.c).

import { PKT_DATA, PKT_DEV, PKT_LEN, PKT_TIME } from '../../memory/layout/packet.ts'
import {
  QUEUE_DEV,
  QUEUE_F_PARTIAL,
  QUEUE_FLAGS,
  XSK_CHUNK_MASK,
  XSK_DONE,
  XSK_DONE_CONSUMER,
  XSK_DONE_PRODUCER,
  XSK_FILL,
  XSK_FILL_CONSUMER,
  XSK_FILL_PRODUCER,
  XSK_MASK,
  XSK_RX,
  XSK_RX_CONSUMER,
  XSK_RX_PRODUCER,
  XSK_SENT,
  XSK_TX,
  XSK_TX_PRODUCER,
  XSK_UMEM,
} from '../../memory/layout/queue.ts'
import { WORKER_NOW } from '../../memory/layout/worker.ts'
import { clearMeta } from './packet.ts'
import { completeGuessed } from './partial_checksum.ts'
import { alloc, release, worker } from './state.ts'

const LOW: u64 = 0xffffffffffff

// @ts-ignore: decorator
@inline
function slotOf(q: usize, address: u64): usize {
  const umem = load<usize>(q, XSK_UMEM)
  const chunk = load<u32>(q, XSK_CHUNK_MASK)
  return umem + (chunk == 0 ? <usize>(address & LOW) : <usize>(<u32>address & ~chunk))
}

/** Keeps the loads that only touch memory alive. */
let touched: u32 = 0

/** Received packets, at most `max`, into a list of addresses. Returns how many. */
export function xdpReceive(q: usize, list: usize, max: u32): u32 {
  const consumer = load<usize>(q, XSK_RX_CONSUMER)
  const from = load<u32>(consumer)
  const n = min<u32>(atomic.load<u32>(load<usize>(q, XSK_RX_PRODUCER)) - from, max)
  if (n == 0) return 0
  const ring = load<usize>(q, XSK_RX)
  const mask = load<u32>(q, XSK_MASK)
  const dev = load<usize>(q, QUEUE_DEV)
  const umem = load<usize>(q, XSK_UMEM)
  const now = load<u64>(worker, WORKER_NOW)
  const partial = (load<u32>(q, QUEUE_FLAGS) & QUEUE_F_PARTIAL) != 0
  // Another processor wrote the frames: all are fetched at once, before the first is looked at.
  for (let i: u32 = 0; i < n; i++) {
    const address = load<u64>(ring + (<usize>((from + i) & mask) << 4))
    touched += load<u32>(slotOf(q, address)) + load<u32>(umem + <usize>(address & LOW) + <usize>(address >> 48))
  }
  for (let i: u32 = 0; i < n; i++) {
    const d = ring + (<usize>((from + i) & mask) << 4)
    const address = load<u64>(d)
    const pkt = slotOf(q, address)
    clearMeta(pkt, load<u32>(d, 8))
    store<usize>(pkt, umem + <usize>(address & LOW) + <usize>(address >> 48), PKT_DATA)
    store<usize>(pkt, dev, PKT_DEV)
    store<u64>(pkt, now, PKT_TIME)
    if (partial) completeGuessed(pkt)
    store<usize>(list + (<usize>i << 2), pkt)
  }
  atomic.store<u32>(consumer, from + n)
  return n
}

/** Gives the kernel free slots, as many as the ring takes and `keep` leaves over. */
export function xdpFill(q: usize, keep: u32, free: u32): void {
  const producer = load<usize>(q, XSK_FILL_PRODUCER)
  const from = load<u32>(producer)
  const mask = load<u32>(q, XSK_MASK)
  const room = mask + 1 - (from - atomic.load<u32>(load<usize>(q, XSK_FILL_CONSUMER)))
  const n: u32 = free <= keep ? 0 : min<u32>(room, free - keep)
  if (n == 0) return
  const ring = load<usize>(q, XSK_FILL)
  const umem = load<usize>(q, XSK_UMEM)
  for (let i: u32 = 0; i < n; i++) store<u64>(ring + (<usize>((from + i) & mask) << 3), <u64>(alloc() - umem))
  atomic.store<u32>(producer, from + n)
}

/** Puts the packets of a list on the ring, as far as there is room; the kernel still has to be told. Returns how many. */
export function xdpSend(q: usize, list: usize, n: u32): u32 {
  const producer = load<usize>(q, XSK_TX_PRODUCER)
  const from = load<u32>(producer)
  const mask = load<u32>(q, XSK_MASK)
  const sent = load<u32>(q, XSK_SENT)
  n = min<u32>(n, mask + 1 - sent)
  const ring = load<usize>(q, XSK_TX)
  const umem = load<usize>(q, XSK_UMEM)
  const aligned = load<u32>(q, XSK_CHUNK_MASK) != 0
  for (let i: u32 = 0; i < n; i++) {
    const pkt = load<usize>(list + (<usize>i << 2))
    const data = load<usize>(pkt, PKT_DATA)
    const d = ring + (<usize>((from + i) & mask) << 4)
    store<u64>(d, aligned ? <u64>(data - umem) : <u64>(pkt - umem) | (<u64>(data - pkt) << 48))
    store<u32>(d, load<u32>(pkt, PKT_LEN), 8)
    store<u32>(d, 0, 12)
  }
  store<u32>(q, sent + n, XSK_SENT)
  atomic.store<u32>(producer, from + n)
  return n
}

/** Frees the slots of what has been sent. */
export function xdpReap(q: usize): void {
  const consumer = load<usize>(q, XSK_DONE_CONSUMER)
  const from = load<u32>(consumer)
  const n = atomic.load<u32>(load<usize>(q, XSK_DONE_PRODUCER)) - from
  if (n == 0) return
  const ring = load<usize>(q, XSK_DONE)
  const mask = load<u32>(q, XSK_MASK)
  for (let i: u32 = 0; i < n; i++) release(slotOf(q, load<u64>(ring + (<usize>((from + i) & mask) << 3))))
  atomic.store<u32>(consumer, from + n)
  store<u32>(q, load<u32>(q, XSK_SENT) - n, XSK_SENT)
}
