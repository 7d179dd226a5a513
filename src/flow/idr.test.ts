import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Arena, createArena } from '../memory/arena.ts'
import { alloc, free, inUse } from '../memory/pool.ts'
import { IDR_NODE, idrAlloc, idrFind, idrInsert, idrLowestFree, idrNext, idrRemove, idrReplace } from './idr.ts'

let a: Arena
let root: number
beforeEach(() => {
  a = createArena({ bytes: 64 << 20, counters: 1024, packets: 16 })
  root = alloc(a, 16)
})
afterEach(() => free(a, root, 16))

const all = (): number[] => {
  const ids: number[] = []
  for (let id = idrNext(a.m, root, 0); id >= 0; id = idrNext(a.m, root, id + 1)) ids.push(id)
  return ids
}

test('the lowest free number is given out, from 1', () => {
  for (let i = 1; i <= 200; i++) expect(idrAlloc(a, root, 1, i * 64)).toBe(i)
  expect(idrRemove(a, root, 77)).toBe(77 * 64)
  expect(idrRemove(a, root, 3)).toBe(3 * 64)
  expect(idrAlloc(a, root, 1, 64)).toBe(3)
  expect(idrAlloc(a, root, 1, 64)).toBe(77)
  expect(idrAlloc(a, root, 1, 64)).toBe(201)
  expect(idrAlloc(a, root, 1000, 64)).toBe(1000)
  expect(idrLowestFree(a.m, root, 1000)).toBe(1001)
})

test('any u32 is a number, and an empty tree holds no memory', () => {
  const ids = [1, 0x1234, 63, 64, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff]
  for (const id of ids) expect(idrInsert(a, root, id, 4096 + (id & 0xff0))).toBe(true)
  for (const id of ids) expect(idrInsert(a, root, id, 16)).toBe(false)
  for (const id of ids) expect(idrFind(a.m, root, id)).toBe(4096 + (id & 0xff0))
  expect(idrFind(a.m, root, 2)).toBe(0)
  expect(idrFind(a.m, root, 0xfffffffe)).toBe(0)
  expect(all()).toEqual([...ids].sort((x, y) => x - y))
  expect(idrLowestFree(a.m, root, 0xffffffff)).toBeGreaterThan(0xffffffff)
  idrReplace(a.m, root, 0x80000000, 32)
  expect(idrFind(a.m, root, 0x80000000)).toBe(32)
  for (const id of ids) expect(idrRemove(a, root, id)).not.toBe(0)
  expect(idrRemove(a, root, 1)).toBe(0)
  expect(all()).toEqual([])
  expect(a.m[(root + IDR_NODE) >> 2]).toBe(0)
  expect(inUse(a)).toEqual({ untagged: 1, '16 bytes': 1 })
})

test('the same as a sorted map, at random', () => {
  let seed = 12345
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return seed % n
  }
  const model = new Map<number, number>()
  for (let step = 0; step < 20000; step++) {
    const id = random(3) === 0 ? random(0x7fffffff) : random(300)
    if (random(2) === 0) {
      expect(idrInsert(a, root, id, 64)).toBe(!model.has(id))
      model.set(id, 64)
    } else {
      expect(idrRemove(a, root, id) !== 0).toBe(model.delete(id))
    }
    if (step % 500 === 0) {
      let free = 1
      while (model.has(free)) free++
      expect(idrLowestFree(a.m, root, 1)).toBe(free)
    }
  }
  expect(all()).toEqual([...model.keys()].sort((x, y) => x - y))
})
