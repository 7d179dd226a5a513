// What flow/ needs of the thread that it runs on: the arena, a clock, encap/, and where notifications go.
//
// State that threads share is in the arena (`flowInit` makes its root, once); a FlowContext is one thread's, made by
// `openFlow` (open.ts) on every thread that adds, deletes or dumps filters or runs the event worker. The event worker's last put of
// a flow comes from below, without a context, so a thread's context is found by its memory.

import type { ActionContext } from '../action/action.ts'
import type { EncapOps } from '../encap/encap.ts'
import type { KeyDevices } from '../match/match.ts'
import type { Arena } from '../memory/arena.ts'
import { rcuOf } from '../memory/arena.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import { SUPER_GENERATION, SUPER_PART_FLOW, SUPER_PARTS } from '../memory/layout/super.ts'
import { alloc, TAG_LOCAL } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { netdevByName, netdevName, netdevSlot } from '../net/netdev.ts'
import { add } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import { actionStatsLocked } from './action_stats.ts'
import { actionTableInit } from './action_table.ts'
import { getChainByAction, putChainByAction } from './chain.ts'
import { KnownKeys } from './known_keys.ts'
import { KnownLists } from './known_lists.ts'

export interface FlowOptions {
  /** Milliseconds of the switch's clock. */
  now(): number
  readonly encap: EncapOps
  /** Every change, as the kernel's RTNLGRP_TC multicast: filters, chains, qdiscs, actions. */
  notify?(message: Uint8Array): void
}

export interface FlowContext extends FlowOptions {
  readonly a: Arena
  /** For the action kinds; `block` is the one whose filter is being made, 0 without. */
  readonly actions: ActionContext & { block: number }
  readonly keyDevices: KeyDevices
  /** Matches and lists of actions that this thread has met. */
  readonly keys: KnownKeys
  readonly lists: KnownLists
  /** What extack says of the request being done although it is accepted, '' for nothing. */
  warning: string
}

// ---- state of the part, in the arena
/** Block of cookies not given out yet. @atomic */
const STATE_COOKIES = 0
/** Shared blocks, linked by BLOCK_NEXT. @under rtnl */
const STATE_BLOCKS = 4
/** What the u32 prios of a qdisc share, linked by COMMON_NEXT. @under rtnl */
const STATE_U32 = 8
/** PROFILE_*. @constant */
const STATE_PROFILE = 12
/** Estimators that their sampler has not met, linked by EST_NEXT. @atomic */
const STATE_ESTIMATORS = 16
const STATE_SIZE = 64

/** Which NIC a switch pretends to be: none, which refuses nothing, or one with the driver mlx5e (mlx5.ts). */
export const PROFILE_SOFTWARE = 0
export const PROFILE_MLX5 = 1

const stateOf = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_FLOW) >> 2]
/** Word of the first shared block. */
export const sharedBlocks = (a: Arena): number => (stateOf(a) + STATE_BLOCKS) >> 2

/** Word of the first qdisc's tables of u32 filters. */
export const u32Commons = (a: Arena): number => (stateOf(a) + STATE_U32) >> 2

/** Word of the first estimator that waits for its sampler. */
export const estimatorsWaiting = (a: Arena): number => (stateOf(a) + STATE_ESTIMATORS) >> 2

/** PROFILE_* of the arena. */
export const profileOf = (a: Arena): number => a.m[(stateOf(a) + STATE_PROFILE) >> 2]

/** Makes the shared state. Once for an arena, by the thread that makes the switch. */
export function flowInit(a: Arena, profile = PROFILE_SOFTWARE): void {
  a.m[(SUPER_PARTS + SUPER_PART_FLOW) >> 2] = alloc(a, STATE_SIZE, TAG_LOCAL)
  a.m[(stateOf(a) + STATE_PROFILE) >> 2] = profile
  actionTableInit(a)
}

/** Devices of the arena for `indev`. */
const keyDevices = (a: Arena): KeyDevices => ({
  indexOf: (name) => {
    const dev = netdevByName(a, name)
    return dev === 0 ? 0 : a.m[(dev + NETDEV_IFINDEX) >> 2]
  },
  nameOf: (ifindex) => netdevName(a, netdevSlot(a, ifindex)),
})

const contexts = new WeakMap<WebAssembly.Memory, FlowContext>()

/** A context of this thread, which takes the place of an older one: for open.ts, and for tests that bring their own encap. */
export function makeContext(a: Arena, o: FlowOptions): FlowContext {
  const actions: FlowContext['actions'] = {
    a,
    block: 0,
    now: o.now,
    takeChain: (index) => (actions.block === 0 ? 0 : getChainByAction(a, actions.block, index)),
    putChain: (chain) => putChainByAction(a, chain),
    stats: (act: number) => actionStatsLocked(a, act),
  } as FlowContext['actions']
  const devices = keyDevices(a)
  const known = { keys: new KnownKeys(devices), lists: new KnownLists() }
  const c: FlowContext = { ...o, a, actions, keyDevices: devices, ...known, warning: '' }
  contexts.set(a.memory, c)
  return c
}

/** This thread's context. */
export function contextOf(a: Arena): FlowContext {
  const c = contexts.get(a.memory)
  if (c === undefined) throw new Error('flow: openFlow was not called on this thread')
  return c
}

/** After a change that can make a lookup find another flow. */
export const bumpGeneration = (a: Arena): void => {
  add(a.m, SUPER_GENERATION >> 2, 1)
}

const COOKIE_BLOCK = 1 << 20
let cookieArena: WebAssembly.Memory | undefined
let cookieNext = 0
let cookieEnd = 0

/** A number that no flow of the arena had before. */
export function nextCookie(a: Arena): number {
  if (cookieNext === cookieEnd || cookieArena !== a.memory) {
    cookieArena = a.memory
    cookieNext = (add(a.m, (stateOf(a) + STATE_COOKIES) >> 2, 1) + 1) * COOKIE_BLOCK
    cookieEnd = cookieNext + COOKIE_BLOCK
  }
  return cookieNext++
}

/**
 * Begins an RCU read section of this thread: what it finds stays until `endReading`. Inside another section it begins
 * none. Says whether it began one.
 */
export function beginReading(a: Arena): boolean {
  const r = rcuOf(a)
  const reader = readerOf(a)
  if (Rcu.isOnline(a.m, r, reader)) return false
  Rcu.online(a.m, r, reader)
  return true
}

/** The end of a section that `beginReading` began. */
export function endReading(a: Arena): void {
  Rcu.offline(a.m, rcuOf(a), readerOf(a))
}
