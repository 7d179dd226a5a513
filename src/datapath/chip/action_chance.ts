// Actions that let some packets pass and others not: gact's random, sample, police (net/sched/act_gact.c, act_sample.c,
// act_police.c).

import * as S from '../../memory/layout/action_state.ts'
import { DROP_NO_SLOT } from '../../memory/layout/drop.ts'
import { PKT_DEV, PKT_LEN, PKT_TIME } from '../../memory/layout/packet.ts'
import { FORK_DROPS, FORK_DROPS_OTHER } from '../../memory/layout/program.ts'
import { PUNT_SAMPLE, WORKER_NOW } from '../../memory/layout/worker.ts'
import { ETH_LEN } from './frame.ts'
import { clone, ownTunnel } from './packet.ts'
import { countDrop, countOverlimit, countReason, punt, worker } from './state.ts'

const PGACT_NETRAND: u32 = 1

const GOLDEN: u32 = 0x9e3779b9

/** xorshift; the same packets in the same order have the same luck. */
let luck: u32 = GOLDEN

/** Each worker has a luck of its own. */
export function seedLuck(worker: u32): void {
  luck = GOLDEN * ((worker << 1) | 1) // odd times odd: never zero, where it would stay
}

function chance(oneIn: u32): bool {
  luck ^= luck << 13
  luck ^= luck >>> 17
  luck ^= luck << 5
  return <u32>((<u64>luck * oneIn) >>> 32) == 0
}

/** OP_RANDOM, operands from `o` on: type val state counter drops. Is the packet one of the chosen? */
export function gactRandom(o: usize): bool {
  const val = load<u32>(o, 4)
  let isChosen = false
  if (load<u32>(o) == PGACT_NETRAND) isChosen = chance(val)
  else isChosen = val == 0 || (atomic.add<u32>(load<usize>(o, 8), 1) + 1) % val == 0
  if ((load<u32>(o, 16) & (isChosen ? FORK_DROPS_OTHER : FORK_DROPS)) != 0) countDrop(load<u32>(o, 12))
  return isChosen
}

/** OP_SAMPLE, operands from `o` on: rate group trunc action. */
export function sample(pkt: usize, o: usize): void {
  if (!chance(load<u32>(o))) return
  const copy = clone(pkt)
  if (copy == 0) {
    countReason(DROP_NO_SLOT)
    return
  }
  const trunc = load<u32>(o, 8)
  if (trunc != 0 && trunc < load<u32>(copy, PKT_LEN)) store<u32>(copy, trunc, PKT_LEN)
  ownTunnel(copy)
  punt(copy, load<usize>(pkt, PKT_DEV), PUNT_SAMPLE, load<usize>(o, 12))
}

/** psched_l2t_ns: the time that so many bytes take. */
function timeOf(len: u32, overhead: u32, mpu: u32, mult: u32, shift: u32): i64 {
  len += overhead & 0xffff
  if (len < mpu) len = mpu
  if (overhead >>> 16 == S.POLICE_LINKLAYER_ATM) len = ((len + 47) / 48) * 53
  return <i64>((<u64>len * mult) >>> shift)
}

/** Below the average rate, takes a packet's tokens out of the buckets when all of them have enough. */
function conforms(police: usize, bytes: u32, frame: u32, now: i64): bool {
  const avrate = load<u32>(police, S.POLICE_AVRATE)
  if (avrate != 0 && atomic.load<u32>(load<usize>(police, S.POLICE_EST) + S.EST_BPS) >= avrate) return false
  if (frame > load<u32>(police, S.POLICE_MTU)) return false
  const flags = load<u32>(police, S.POLICE_FLAGS)
  if ((flags & (S.POLICE_RATE | S.POLICE_PPS)) == 0) return true
  while (atomic.cmpxchg<u32>(police + S.POLICE_LOCK, 0, 1) != 0) {}
  const since = now - load<i64>(police, S.POLICE_T_C)
  const burst = load<i64>(police, S.POLICE_BURST)
  let toks = since < burst ? since : burst
  let ptoks: i64 = 0
  let pkttoks: i64 = 0
  if ((flags & S.POLICE_PEAK) != 0) {
    const most = load<i64>(police, S.POLICE_MTU_PTOKS)
    ptoks = toks + load<i64>(police, S.POLICE_PTOKS)
    if (ptoks > most) ptoks = most
    ptoks -= timeOf(
      bytes,
      load<u32>(police, S.POLICE_PEAK_OVERHEAD),
      load<u32>(police, S.POLICE_PEAK_MPU),
      load<u32>(police, S.POLICE_PEAK_MULT),
      load<u32>(police, S.POLICE_PEAK_SHIFT),
    )
  }
  if ((flags & S.POLICE_RATE) != 0) {
    toks += load<i64>(police, S.POLICE_TOKS)
    if (toks > burst) toks = burst
    toks -= timeOf(
      bytes,
      load<u32>(police, S.POLICE_RATE_OVERHEAD),
      load<u32>(police, S.POLICE_RATE_MPU),
      load<u32>(police, S.POLICE_RATE_MULT),
      load<u32>(police, S.POLICE_RATE_SHIFT),
    )
  } else {
    const most = load<i64>(police, S.POLICE_PKT_BURST)
    pkttoks = (since < most ? since : most) + load<i64>(police, S.POLICE_PKTTOKS)
    if (pkttoks > most) pkttoks = most
    pkttoks -= <i64>(<u64>load<u32>(police, S.POLICE_PKT_MULT) >>> load<u32>(police, S.POLICE_PKT_SHIFT))
  }
  const ok = (toks | ptoks | pkttoks) >= 0
  if (ok) {
    store<i64>(police, now, S.POLICE_T_C)
    store<i64>(police, toks, S.POLICE_TOKS)
    store<i64>(police, ptoks, S.POLICE_PTOKS)
    store<i64>(police, pkttoks, S.POLICE_PKTTOKS)
  }
  atomic.store<u32>(police + S.POLICE_LOCK, 0)
  return ok
}

/** OP_POLICE, operands from `o` on: police counter drops. Does the packet exceed? */
export function police(pkt: usize, o: usize, bytes: u32, ingress: bool): bool {
  const state = load<usize>(o)
  const counter = load<u32>(o, 4)
  const drops = load<u32>(o, 8)
  const stamp = load<i64>(pkt, PKT_TIME)
  const frame = ingress ? bytes + ETH_LEN : bytes // tcf_police_mtu_check counts it, the buckets do not
  if (conforms(state, bytes, frame, stamp != 0 ? stamp : load<i64>(worker, WORKER_NOW))) {
    // Without a bucket nothing is counted (tcf_police_act).
    const hasBucket = (load<u32>(state, S.POLICE_FLAGS) & (S.POLICE_RATE | S.POLICE_PPS)) != 0
    if (hasBucket && (drops & FORK_DROPS) != 0) countDrop(counter)
    return false
  }
  countOverlimit(counter)
  if ((drops & FORK_DROPS_OTHER) != 0) countDrop(counter)
  return true
}
