// GET /connections: the connections that `action ct` knows, and how many it may know.

import { type ConnectionView, connectionList } from '../../conntrack/show.ts'
import { connectionCount, earlyDrops } from '../../conntrack/table.ts'
import type { FlowContext } from '../../flow/context.ts'
import { checkQuery, numberOf, type Query } from './table.ts'

const LIMIT = 1000
const LIMIT_MAX = 100_000

export interface ConnectionPage {
  /** At most `limit` of them, in no order. */
  readonly connections: readonly ConnectionView[]
  /** All that are known, also those whose time is over and that nobody has looked at since. */
  readonly count: number
  /** Given up to make room for others. */
  readonly earlyDrops: number
}

export function connections(c: FlowContext, now: number, query: Query): ConnectionPage {
  checkQuery(query, 'limit')
  return {
    connections: connectionList(c.a, now, Math.max(1, numberOf(query, 'limit', LIMIT, LIMIT_MAX))),
    count: connectionCount(c.a),
    earlyDrops: earlyDrops(c.a),
  }
}
