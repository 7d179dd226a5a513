import { expect, it } from 'vitest'
import * as Drop from '../memory/layout/drop.ts'
import { dropName, dropReasons } from './drop_reason.ts'

const codes = Object.entries(Drop).filter(([name]) => name !== 'DROP_NONE' && name !== 'DROP_MAX')

it('has a sentence for every reason, and no other', () => {
  expect(dropReasons.map((r) => r.code)).toEqual(codes.map(([, code]) => code).sort((a, b) => a - b))
  for (const r of dropReasons) expect(r.sentence).toMatch(/^[A-Z].+\.$/)
})

it('names a reason as the layout does', () => {
  for (const [name, code] of codes) expect(`DROP_${dropName(code).toUpperCase()}`).toBe(name)
  expect(new Set(codes.map(([, code]) => code)).size).toBe(codes.length)
})
