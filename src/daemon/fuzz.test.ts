import { expect, test } from 'vitest'
import { fuzz } from './fuzz.stress.ts'

test('mutated requests: answered, every one, and a refused one changes nothing', { timeout: 120_000 }, () => {
  const r = fuzz(600, 20260801, { every: 50 })
  expect(r.sent).toBe(600)
  // Neither is everything refused, nor is everything taken.
  expect(r.refused).toBeGreaterThan(100)
  expect(r.accepted).toBeGreaterThan(50)
})
