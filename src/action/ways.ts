// The ways that a packet may take through a list of actions (tcf_action_exec), known before any packet comes.
//
// An action's control says what follows: pipe goes on, `jump N` goes to the N-th action of the list, everything else ends.
// An action with two controls (police, gact random) is a fork: some packets go on by the one, some by the other. What a
// packet does from some point on depends on the place in the list, on the jumps that are left and on the tunnel metadata
// that it has; ways that meet in the same such state are one from there on, so that many forks do not make many ways.

import type { Arena } from '../memory/arena.ts'
import { ACT_CONTROL, ACT_KIND, TC_ACT_EXT_MASK, TC_ACT_JUMP, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { kindById } from './index.ts'
import { isRedirect, mirred, tunnelDeviceOf } from './mirred.ts'
import { tunnelKey, tunOf } from './tunnel_key.ts'

/** How often a packet may jump in a list: the last one of these ends it. */
export const JUMPS_MAX = 32

/** Where the list goes behind action `i` with this control: to an action, to `n` for the end as pass, or -1: it ends. */
export function behind(control: number, i: number, n: number): number {
  if (control === TC_ACT_PIPE) return i + 1
  if (!isJump(control)) return -1
  const to = control & 0x1ff
  return to === 0 || to > n ? n : to
}

/** Jumps that are left behind such a control. */
export const jumpsBehind = (control: number, jumps: number): number => (isJump(control) ? jumps - 1 : jumps)

const isJump = (control: number): boolean => control > 0 && (control & ~TC_ACT_EXT_MASK) === TC_ACT_JUMP

/** The second control of an instance that is a fork, undefined when it is none or both are the same. */
export function forkOf(m: Int32Array, act: number): number | undefined {
  const other = kindById(m[(act + ACT_KIND) >> 2])?.fork?.(m, act)
  return other === m[(act + ACT_CONTROL) >> 2] ? undefined : other
}

/** A number for a state: an action's place, the jumps that are left, the address of the metadata. */
export const stateOf = (i: number, jumps: number, tun: number): number => (tun * 64 + jumps) * 64 + i

type Visit = (i: number, tun: number) => void

const seen = new Set<number>()
let forked = false
let m: Int32Array
let acts: Int32Array
let n = 0
let visit: Visit

/** Calls `each` for every state in which a packet may meet an action of the list of `length` instances. */
export function walkWays(memory: Int32Array, list: Int32Array, length: number, each: Visit): void {
  m = memory
  acts = list
  n = length
  visit = each
  forked = false
  if (seen.size !== 0) seen.clear() // clearing makes a new table, empty or not
  walkFrom(0, JUMPS_MAX, 0)
}

function walkFrom(i: number, jumps: number, tun: number): void {
  while (i < n) {
    if (forked) {
      const state = stateOf(i, jumps, tun)
      if (seen.has(state)) return
      seen.add(state)
    }
    const act = acts[i]
    const kind = m[(act + ACT_KIND) >> 2]
    visit(i, tun)
    if (kind === tunnelKey.id) tun = tunOf(m, act)
    else if (kind === mirred.id && isRedirect(m, act)) return
    const other = forkOf(m, act)
    if (other !== undefined) {
      forked = true
      goOn(other, i, jumps, tun)
    }
    const control = m[(act + ACT_CONTROL) >> 2]
    const to = behind(control, i, n)
    jumps = jumpsBehind(control, jumps)
    if (to < 0 || jumps === 0) return
    i = to
  }
}

function goOn(control: number, i: number, jumps: number, tun: number): void {
  const to = behind(control, i, n)
  const left = jumpsBehind(control, jumps)
  if (to >= 0 && left > 0) walkFrom(to, left, tun)
}

/**
 * Calls `each` with the metadata and the device (addresses) of every tunnel destination of a list of instances: wherever a
 * packet with metadata meets a mirred to a tunnel device.
 */
export function encapItems(a: Arena, list: Int32Array, length: number, each: (tun: number, dev: number) => void): void {
  tell = each
  walkWays(a.m, list, length, tellDestination)
}

let tell: (tun: number, dev: number) => void

const tellDestination: Visit = (i, tun) => {
  const isMirred = m[(acts[i] + ACT_KIND) >> 2] === mirred.id
  const dev = isMirred && tun !== 0 ? tunnelDeviceOf(m, acts[i]) : 0
  if (dev !== 0) tell(tun, dev)
}
