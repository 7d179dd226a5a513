// The tables that people, scripts and `flowerbed … show` read: what each is asked, and how.
//
// A table is a plain function, run by a control worker on the shared arena while everything goes on: it takes references
// or short locks as a dump does, and gives back what JSON can say. Long ones come in pages: `limit` rows from `from` on.

import type { FlowContext } from '../../flow/context.ts'

export type Query = Readonly<Record<string, string>>

/** `now`: milliseconds of the switch's clock. Throws QueryError for what it does not know. */
export type Table = (c: FlowContext, now: number, query: Query) => unknown

/** The query is wrong; the message says what would be right. */
export class QueryError extends Error {
  override readonly name = 'QueryError'
}

/** Refuses what is not among `known`. */
export function checkQuery(query: Query, ...known: string[]): void {
  for (const name of Object.keys(query))
    if (!known.includes(name))
      throw new QueryError(
        `there is no ${name} here; ${known.length === 0 ? 'nothing is asked' : `there is: ${known.join(', ')}`}`,
      )
}

/** A number of the query. */
export function numberOf(query: Query, name: string, absent: number, max: number): number {
  const text = query[name]
  if (text === undefined) return absent
  const n = Number(text)
  if (!/^\d+$/.test(text) || n > max) throw new QueryError(`${name}: expected a number up to ${max}, not "${text}"`)
  return n
}
