// RCU lists: intrusive, doubly linked, for control's lists that readers may walk.
//
// A list is one word, the address of its first object. An object on it has two words at `link`: the next object, and the
// address of the word that points to this one (the head, or the next field of the one before), so removal needs no
// head. Writers hold the list's lock; readers walk with first and next under RCU. A removed object still points on, so
// a reader that stands on it finds its way; free it with freeRcu.
import { deref, publish } from '../sync/rcu.ts'
import type { Arena } from './arena.ts'

/** Bytes of the two words at `link`. */
export const LINK_SIZE = 8

/** First object of the list whose head is at address `head`, 0 when it is empty. */
export const first = (a: Arena, head: number): number => deref(a.m, head >> 2)

/** The object behind p, 0 at the end. */
export const next = (a: Arena, p: number, link: number): number => deref(a.m, (p + link) >> 2)

/** Puts p in front, or, when `at` is the address of the next field of another object, behind that one. */
export function insert(a: Arena, at: number, p: number, link: number): void {
  const { m } = a
  const after = m[at >> 2]
  m[(p + link) >> 2] = after
  m[(p + link + 4) >> 2] = at
  if (after !== 0) m[(after + link + 4) >> 2] = p + link
  publish(m, at >> 2, p)
}

/** Takes p off its list. Nothing happens when it is on none. */
export function remove(a: Arena, p: number, link: number): void {
  const { m } = a
  const at = m[(p + link + 4) >> 2]
  if (at === 0) return
  const after = m[(p + link) >> 2]
  publish(m, at >> 2, after)
  if (after !== 0) m[(after + link + 4) >> 2] = at
  m[(p + link + 4) >> 2] = 0
}

/** Is p on a list? Under the list's lock. */
export const isLinked = (a: Arena, p: number, link: number): boolean => a.m[(p + link + 4) >> 2] !== 0
