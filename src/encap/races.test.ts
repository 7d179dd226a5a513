import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { raceTable } from './races.ts'

test('every row of the study is here, once, in order', () => {
  expect(raceTable.map((r) => r.row)).toEqual(Array.from({ length: 92 }, (_, i) => i + 1))
})

test('a row that does not apply says why at length; one that does has a proof', () => {
  for (const r of raceTable)
    expect([r.row, r.mechanism.length > (r.proof.length === 0 ? 25 : 3)]).toEqual([r.row, true])
})

const proofs = [...new Set(raceTable.flatMap((r) => r.proof))].sort()
describe('what the table names exists', { timeout: 60_000 }, () => {
  test.each(proofs)('%s', async (proof) => {
    if (proof === 'code') return
    if (proof === 'stress') {
      expect(existsSync(new URL('./storm.stress.ts', import.meta.url))).toBe(true)
      return
    }
    const [file, name] = proof.split(' ')
    const base = file.startsWith('flow/') ? '../' : './'
    const url = new URL(base + file, import.meta.url)
    expect(existsSync(url)).toBe(true)
    if (name !== undefined) expect(Object.keys((await import(url.href)) as object)).toContain(name)
  })
})

test('every model is named by some row, and so is every broken twin', { timeout: 60_000 }, async () => {
  for (const file of ['neigh_hash_entry', 'route_entry', 'attach', 'settle', 'flow/join']) {
    const url = new URL(`${file.startsWith('flow/') ? '../' : './'}${file}.model.ts`, import.meta.url)
    for (const name of Object.keys((await import(url.href)) as object))
      expect([file, name, UNNAMED.test(name) || proofs.includes(`${file}.model.ts ${name}`)]).toEqual([
        file,
        name,
        true,
      ])
  }
})
/** Death of a thread is no row of the study, nor are actions that change under a flow. */
const UNNAMED = /Kill$|Stale$/
