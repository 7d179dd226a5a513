import { expect, test } from 'vitest'
import type { Moment } from './moment.ts'
import type { Step } from './scenario.ts'
import { Schedule } from './schedule.ts'

const step = (name: string, kind?: Moment['kind'], value = 0): Step => ({
  where: name,
  words: [],
  moment: kind === undefined ? null : { kind, value },
  forgiving: false,
})

/** Names of the lines that are due. */
function take(s: Schedule, now: number, received = 0): string[] {
  const names: string[] = []
  for (let x = s.take(now, received); x !== null; x = s.take(now, received)) names.push(x.where)
  return names
}

test('lines run in the order of their moments, then of the file', () => {
  const s = new Schedule([step('b', 'at', 20), step('now'), step('a', 'at', 10), step('c', 'at', 20)], 1000)
  expect(s.nextTime).toBe(1010)
  expect(take(s, 1009)).toEqual([])
  expect(take(s, 1020)).toEqual(['a', 'b', 'c'])
  expect(s.nextTime).toBe(Number.POSITIVE_INFINITY)
})

test('a line relative to the one before is due after that one has run', () => {
  const s = new Schedule(
    [step('set-up'), step('a', 'after', 5), step('b', 'after', 5), step('c', 'packet', 3), step('d', 'after', 100)],
    0,
  )
  expect(s.nextTime).toBe(5)
  expect(take(s, 10)).toEqual(['a', 'b'])
  expect([s.nextTime, s.nextPackets]).toEqual([Number.POSITIVE_INFINITY, 3])
  expect(take(s, 50, 2)).toEqual([])
  expect(take(s, 60, 3)).toEqual(['c'])
  expect(s.nextTime).toBe(160)
  expect(s.left.map((x) => x.where)).toEqual(['d'])
})
