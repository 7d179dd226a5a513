// The sequence count of a neighbour: whoever takes a picture sees a state and the link-layer address that belongs to it,
// whatever two writers do meanwhile. The broken twin reads the words without the count.

import type { Arena } from '../memory/arena.ts'
import { SUPER_PART_NEIGH, SUPER_PARTS } from '../memory/layout/super.ts'
import { load } from '../sync/atomic.ts'
import type { Scenario } from '../testing/scenario.ts'
import { NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { NEIGH_FAMILY, NEIGH_MAC, NEIGH_STATE, neighSnapshot } from './neigh.ts'
import { NEIGH_UPDATE_F_ADMIN, NEIGH_UPDATE_F_OVERRIDE, neighUpdate } from './neigh_update.ts'

const TABLE = 4096
const NEIGH = 8192
const WRONG = 12288 >> 2

const enter = (memory: WebAssembly.Memory): Arena => ({
  memory,
  m: new Int32Array(memory.buffer),
  u8: new Uint8Array(memory.buffer),
  d: new DataView(memory.buffer),
  thread: 0,
})

// A reachable neighbour has the address …11, a stale one …22.
const macOf = (state: number): Uint8Array => new Uint8Array(6).fill(state === NUD_REACHABLE ? 0x11 : 0x22)
const write =
  (state: number) =>
  (a: Arena): void => {
    neighUpdate(a, NEIGH, macOf(state), state, NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN, 1)
  }
const see = (a: Arena, state: number, mac: Uint8Array): void => {
  if (mac.some((x) => x !== macOf(state)[0])) a.m[WRONG] = 1
}

const model = (read: (a: Arena) => void): Scenario<Arena> => ({
  words: 16384,
  setup: (m) => {
    m[(SUPER_PARTS + SUPER_PART_NEIGH) >> 2] = TABLE
    m[(NEIGH + NEIGH_FAMILY) >> 2] = 2
    m[(NEIGH + NEIGH_STATE) >> 2] = NUD_REACHABLE
    m[(NEIGH + NEIGH_MAC) >> 2] = 0x11111111
    m[(NEIGH + NEIGH_MAC + 4) >> 2] = 0x1111
  },
  enter,
  threads: [write(NUD_STALE), write(NUD_REACHABLE), read],
  check: (m) => (m[WRONG] === 0 ? undefined : 'a state with the address of another'),
})

export const good = model((a) => {
  const s = neighSnapshot(a, NEIGH)
  see(a, s.state, s.mac)
})

export const bad = model((a) => {
  const { m } = a
  const state = load(m, (NEIGH + NEIGH_STATE) >> 2)
  const first = load(m, (NEIGH + NEIGH_MAC) >> 2)
  const last = load(m, (NEIGH + NEIGH_MAC + 4) >> 2)
  see(a, state, Uint8Array.of(first, first >>> 8, first >>> 16, first >>> 24, last, last >>> 8))
})
