import { expect, test } from 'vitest'
import { TimerHeap } from './timer_heap.ts'

test('timers come in order; setting one anew forgets the old', () => {
  const t = new TimerHeap()
  expect(t.next()).toBe(Number.POSITIVE_INFINITY)
  for (const [what, at] of [
    [1, 30],
    [2, 10],
    [3, 20],
    [2, 40],
    [3, 5],
  ])
    t.arm(what, at)
  t.arm(4, 7)
  t.cancel(4)
  expect(t.next()).toBe(5)
  expect(t.take(4)).toBe(-1)
  expect([t.take(50), t.take(50), t.take(50), t.take(50)]).toEqual([3, 1, 2, -1])
})

test('the same as a sorted list, for many', () => {
  const t = new TimerHeap()
  const all = new Map<number, number>()
  let seed = 12345
  const random = (n: number): number => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % n
  }
  for (let i = 0; i < 5000; i++) {
    const what = random(300)
    if (random(4) === 0) {
      t.cancel(what)
      all.delete(what)
    } else {
      const at = random(1000)
      t.arm(what, at)
      all.set(what, at)
    }
  }
  const taken: number[] = []
  for (let w = t.take(1000); w >= 0; w = t.take(1000)) {
    taken.push(all.get(w)!)
    all.delete(w)
  }
  expect(all.size).toBe(0)
  expect(taken).toEqual([...taken].sort((x, y) => x - y))
})
