// Devices, chains, flows and programs laid into the arena by hand: what the datapath reads, without the control side
// that usually writes it. For tests and benches of the datapath alone; nothing is ever freed.

import type { Arena } from '../memory/arena.ts'
import { reserve } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import { hashWords } from '../memory/flow_hash.ts'
import * as E from '../memory/layout/encap.ts'
import * as F from '../memory/layout/flow.ts'
import * as N from '../memory/layout/netdev.ts'
import { SUPER_GENERATION, SUPER_LOCAL, SUPER_NETDEVS, SUPER_UDP_PORTS } from '../memory/layout/super.ts'

const ETH_P_ALL = 0x0300

export interface HandDevice {
  kind?: number
  up?: boolean
  mtu?: number
  mac?: number[]
  features?: number
  vni?: number
  tun?: number
  encap?: number
  /** UDP port that it listens on. */
  udpPort?: number
}

/** A device in slot `ifindex`. */
export function handDevice(a: Arena, ifindex: number, o: HandDevice = {}): number {
  const { m } = a
  const dev = m[SUPER_NETDEVS >> 2] + ifindex * N.NETDEV_SIZE
  const set = (field: number, v: number): void => {
    m[(dev + field) >> 2] = v
  }
  set(N.NETDEV_KIND, o.kind ?? N.NETDEV_KIND_PORT)
  set(N.NETDEV_FLAGS, (o.up ?? true) ? N.IFF_UP | N.IFF_RUNNING | N.IFF_LOWER_UP : 0)
  set(N.NETDEV_IFINDEX, ifindex)
  set(N.NETDEV_MTU, o.mtu ?? 1500)
  a.u8.set(o.mac ?? [2, 0, 0, 0, 0, ifindex], dev + N.NETDEV_MAC)
  set(N.NETDEV_FEATURES, o.features ?? 0)
  set(N.NETDEV_TUN, o.tun ?? 0)
  set(N.NETDEV_ENCAP, o.encap ?? 0)
  set(N.NETDEV_VNI, o.vni ?? 0)
  set(N.NETDEV_PORT, ifindex - 1)
  set(N.NETDEV_RX_COUNTER, counterAlloc(a))
  set(N.NETDEV_TX_COUNTER, counterAlloc(a))
  if (o.udpPort !== undefined) {
    const be = ((o.udpPort & 255) << 8) | (o.udpPort >> 8)
    const head = (m[SUPER_UDP_PORTS >> 2] >> 2) + be
    set(N.NETDEV_TP_DST, be)
    set(N.NETDEV_TP_NEXT, m[head])
    m[head] = dev
  }
  return dev
}

/** A block with an empty chain 0 at the device's hook (NETDEV_INGRESS, NETDEV_EGRESS). */
export function handBlock(a: Arena, dev: number, hook: number): number {
  const block = reserve(a, F.BLOCK_SIZE)
  a.m[(block + F.BLOCK_CHAIN0) >> 2] = handChain(a, block, 0)
  a.m[(dev + hook) >> 2] = block
  return block
}

export function handChain(a: Arena, block: number, index: number): number {
  const { m } = a
  const chain = reserve(a, F.CHAIN_SIZE)
  m[(chain + F.CHAIN_INDEX) >> 2] = index
  m[(chain + F.CHAIN_BLOCK) >> 2] = block
  m[(chain + F.CHAIN_NEXT) >> 2] = m[(block + F.BLOCK_CHAINS) >> 2]
  m[(block + F.BLOCK_CHAINS) >> 2] = chain
  return chain
}

export const chain0 = (a: Arena, block: number): number => a.m[(block + F.BLOCK_CHAIN0) >> 2]

export function handPrio(a: Arena, chain: number, pref: number, proto = ETH_P_ALL): number {
  const prio = reserve(a, F.PRIO_SIZE)
  a.m[(prio + F.PRIO_PREF) >> 2] = pref
  a.m[(prio + F.PRIO_PROTO) >> 2] = proto
  a.m[(prio + F.PRIO_CHAIN) >> 2] = chain
  return prio
}

/** A mask at the end of the chain's list, whose table has room for `cells` flows (a power of two). */
export function handMask(
  a: Arena,
  prio: number,
  pairs: [offset: number, bits: number][],
  cells = 64,
  flags = 0,
): number {
  const { m } = a
  const mask = reserve(a, F.MASK_SIZE_LARGE)
  const table = reserve(a, F.TABLE_CELLS + cells * F.CELL_SIZE)
  m[(table + F.TABLE_MASK) >> 2] = cells - 1
  const set = (field: number, v: number): void => {
    m[(mask + field) >> 2] = v
  }
  set(F.MASK_PRIO, prio)
  set(F.MASK_PROTO, m[(prio + F.PRIO_PROTO) >> 2])
  set(F.MASK_TABLE, table)
  set(F.MASK_WORDS, pairs.length)
  set(F.MASK_FLAGS, flags)
  set(
    F.MASK_GROUPS,
    pairs.reduce((groups, [offset]) => groups | (1 << (offset >> 6)), flags ? 1 : 0),
  )
  pairs.forEach(([offset, bits], i) => {
    set(F.MASK_PAIRS + i * 8, offset)
    set(F.MASK_PAIRS + i * 8 + 4, bits)
  })
  let link = (m[(prio + F.PRIO_CHAIN) >> 2] + F.CHAIN_MASKS) >> 2
  while (m[link] !== 0) link = (m[link] + F.MASK_NEXT) >> 2
  m[link] = mask
  m[SUPER_GENERATION >> 2]++
  return mask
}

/** A flow of the mask: the words under it, and a program. */
export function handFlow(a: Arena, mask: number, words: number[], program: number[], ranges = [0, 0]): number {
  const { m } = a
  const flow = reserve(a, F.FLOW_SIZE)
  const n = m[(mask + F.MASK_WORDS) >> 2]
  const packed = n <= F.FLOW_KEY_WORDS_INLINE ? flow + F.FLOW_KEY : reserve(a, n * 4)
  for (let i = 0; i < n; i++) m[(packed >> 2) + i] = words[i] & m[(mask + F.MASK_PAIRS + i * 8 + 4) >> 2]
  const hash = hashWords(m, packed >> 2, n)
  m[(flow + F.FLOW_HASH) >> 2] = hash
  m[(flow + F.FLOW_ACTIONS) >> 2] = handProgram(a, program)
  m[(flow + F.FLOW_MASK) >> 2] = mask
  m[(flow + F.FLOW_KEY_PTR) >> 2] = packed
  m[(flow + F.FLOW_RANGE) >> 2] = ranges[0]
  m[(flow + F.FLOW_RANGE_DST) >> 2] = ranges[1]
  const table = m[(mask + F.MASK_TABLE) >> 2]
  const last = m[(table + F.TABLE_MASK) >> 2]
  let i = hash & last
  const cell = (): number => (table + F.TABLE_CELLS + i * F.CELL_SIZE) >> 2
  while (m[cell() + 1] !== F.CELL_FREE) i = (i + 1) & last
  m[cell()] = hash
  m[cell() + 1] = flow
  m[(mask + F.MASK_NFLOWS) >> 2]++
  m[SUPER_GENERATION >> 2]++
  return flow
}

/** A program from words; `op(code, …operands)` makes those of one op. */
export function handProgram(a: Arena, words: number[]): number {
  const p = reserve(a, words.length * 4 + 4)
  words.forEach((w, i) => {
    a.m[(p >> 2) + i] = w
  })
  return p
}

export const op = (code: number, ...operands: number[]): number[] => [code | ((operands.length + 1) << 8), ...operands]

/** An encap entry with a header: `bytes` is the template, patch points zero; words are the header's fields. */
export function handEncap(a: Arena, dev: number, tun: number, bytes: number[], fields: Record<number, number>): number {
  const { m } = a
  const small = bytes.length <= E.HEADER_ROOM_SMALL
  const header = reserve(a, E.HEADER_SIZE)
  const entry = reserve(a, E.ENCAP_SIZE)
  for (const [field, v] of Object.entries(fields)) m[(header + Number(field)) >> 2] = v
  m[(header + E.HEADER_LEN) >> 2] = bytes.length
  if (small) m[(header + E.HEADER_FLAGS) >> 2] |= E.HEADER_F_SMALL
  const room = small ? E.HEADER_ROOM_SMALL : E.HEADER_ROOM
  a.u8.set(bytes, header + E.HEADER_BYTES + room - bytes.length)
  m[(entry + E.ENCAP_HEADER) >> 2] = header
  m[(entry + E.ENCAP_DEV) >> 2] = dev
  m[(entry + E.ENCAP_TUN) >> 2] = tun
  return entry
}

/** Publishes the table of local addresses: four bytes, or sixteen. */
export function handLocal(a: Arena, addresses: number[][]): void {
  const { m } = a
  const last = 63
  const table = reserve(a, N.LOCAL_ENTRIES + (last + 1) * N.LOCAL_ENTRY_SIZE)
  m[(table + N.LOCAL_MASK) >> 2] = last
  for (const address of addresses) {
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => address[i] ?? 0)
    const w = new Int32Array(bytes.buffer)
    let h = w[0] ^ w[1] ^ w[2] ^ w[3]
    h ^= h >>> 16
    h ^= h >>> 8
    let i = h & last
    const at = (): number => table + N.LOCAL_ENTRIES + i * N.LOCAL_ENTRY_SIZE
    while (m[(at() + N.LOCAL_ENTRY_FAMILY) >> 2] !== 0) i = (i + 1) & last
    m[(at() + N.LOCAL_ENTRY_FAMILY) >> 2] = address.length === 4 ? 4 : 6
    m[(at() + N.LOCAL_ENTRY_TYPE) >> 2] = 2
    a.u8.set(bytes, at() + N.LOCAL_ENTRY_ADDR)
  }
  m[SUPER_LOCAL >> 2] = table
}
