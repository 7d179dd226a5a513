// gate: lets packets through by the clock (net/sched/act_gate.c). The kernel turns its gate with a timer; here nothing
// runs between packets: which entry of the schedule is in force follows from a packet's time, and only the octets that
// an entry has let through are remembered.

import * as S from '../../memory/layout/action_state.ts'
import { PKT_TIME } from '../../memory/layout/packet.ts'
import { WORKER_NOW } from '../../memory/layout/worker.ts'
import { countOverlimit, worker } from './state.ts'

/** Adds a packet to the octets of the entry that is the `turn`-th since the start. False: they are used up. */
function fits(gate: usize, turn: i64, max: u32, bytes: u32): bool {
  while (atomic.cmpxchg<u32>(gate + S.GATE_LOCK, 0, 1) != 0) {}
  if (turn > load<i64>(gate, S.GATE_TURN)) {
    store<i64>(gate, turn, S.GATE_TURN)
    store<u32>(gate, 0, S.GATE_OCTETS)
  }
  const octets = load<u32>(gate, S.GATE_OCTETS) + bytes
  store<u32>(gate, octets, S.GATE_OCTETS)
  atomic.store<u32>(gate + S.GATE_LOCK, 0)
  return octets <= max
}

/** OP_GATE. False: it is closed, or has let through what it may. */
export function passGate(pkt: usize, gate: usize, counter: u32, bytes: u32): bool {
  const stamp = load<i64>(pkt, PKT_TIME)
  const since = (stamp != 0 ? stamp : load<i64>(worker, WORKER_NOW)) - load<i64>(gate, S.GATE_START)
  const round = load<i64>(gate, S.GATE_ROUND)
  if (since < 0 || round <= 0) return true // until the first cycle begins everything passes
  const n = load<u32>(gate, S.GATE_COUNT)
  let left = since % round
  let i: u32 = 0
  let entry = gate + S.GATE_ENTRIES
  while (i + 1 < n && left >= <i64>load<u32>(entry, S.GATE_ENTRY_INTERVAL)) {
    left -= <i64>load<u32>(entry, S.GATE_ENTRY_INTERVAL)
    entry += S.GATE_ENTRY_SIZE
    i++
  }
  if (load<u32>(entry, S.GATE_ENTRY_OPEN) == 0) return false
  const max = load<i32>(entry, S.GATE_ENTRY_MAX_OCTETS)
  if (max < 0 || fits(gate, (since / round) * <i64>n + i + 1, max, bytes)) return true
  countOverlimit(counter)
  return false
}
