// Packets: copies, and the metadata that goes with them.

import { TUN_OPTS_LEN, TUN_SIZE, TUN_SIZE_MAX } from '../../memory/layout/action.ts'
import { PKT_DATA, PKT_FRAME, PKT_LEN, PKT_TUN, PKT_TUN_INFO } from '../../memory/layout/packet.ts'
import { SUPER_PACKET_SIZE } from '../../memory/layout/super.ts'
import { allocLarge } from './held.ts'
import { alloc, largeFrom } from './state.ts'

/** Copies n bytes in whole words of 16: up to 15 bytes behind them are written too. */
export function copyWords(to: usize, from: usize, n: u32): void {
  for (; n >= 64; n -= 64, from += 64, to += 64) {
    const a = v128.load(from)
    const b = v128.load(from, 16)
    const c = v128.load(from, 32)
    const d = v128.load(from, 48)
    v128.store(to, a)
    v128.store(to, b, 16)
    v128.store(to, c, 32)
    v128.store(to, d, 48)
  }
  for (const end = from + n; from < end; from += 16, to += 16) v128.store(to, v128.load(from))
}

/** skb_clone, with the bytes: a packet in a new slot, 0 when there is none. */
export function clone(pkt: usize): usize {
  const copy = pkt >= largeFrom ? allocLarge() : alloc()
  if (copy == 0) return 0
  copyWords(copy, pkt, PKT_TUN_INFO)
  const data = load<usize>(pkt, PKT_DATA)
  store<usize>(copy, copy + (data - pkt), PKT_DATA)
  if (load<usize>(pkt, PKT_TUN) == pkt + PKT_TUN_INFO) ownTunnel(copy)
  // The words may reach behind the frame, never behind the slot: the slack is part of it.
  copyWords(copy + (data - pkt), data, load<u32>(pkt, PKT_LEN))
  return copy
}

/** Makes the packet keep its tunnel metadata itself: whose it was may be gone when the packet is looked at again. */
export function ownTunnel(pkt: usize): void {
  const tun = load<usize>(pkt, PKT_TUN)
  if (tun == 0 || tun == pkt + PKT_TUN_INFO) return
  const size = <u32>TUN_SIZE + <u32>load<u8>(tun, TUN_OPTS_LEN)
  copyWords(pkt + PKT_TUN_INFO, tun, size < <u32>TUN_SIZE_MAX ? size : TUN_SIZE_MAX)
  store<usize>(pkt, pkt + PKT_TUN_INFO, PKT_TUN)
}

/** Puts a frame that stands elsewhere in the arena into a slot, fresh metadata with it. False: it does not fit. */
export function loadFrame(pkt: usize, from: usize, len: u32): bool {
  if (len > load<u32>(SUPER_PACKET_SIZE) - <u32>PKT_FRAME - 64) return false
  clearMeta(pkt, len)
  memory.copy(pkt + PKT_FRAME, from, len)
  return true
}

/** Metadata of a packet that has just arrived: the frame begins behind the headroom. */
export function clearMeta(pkt: usize, len: u32): void {
  const zero = i64x2.splat(0)
  v128.store(pkt, zero, 0)
  v128.store(pkt, zero, 16)
  v128.store(pkt, zero, 32)
  v128.store(pkt, zero, 48)
  store<usize>(pkt, pkt + PKT_FRAME, PKT_DATA)
  store<u32>(pkt, len, PKT_LEN)
}
