// GET /flows: every rule, where it stands and how it does: its path and why, what its tunnel destinations stand on, its
// counters, and, asked for with why=1, the earlier rule that leaves it no packets.
//
// Walks as a dump does (flow/filter_dump.ts): references, no lock for long. Rows come in pages: the answer's `next`, given
// as `from`, goes on behind the last row; null at the end.

import { type EncapDetail, encapDetails, encapIds } from '../../encap/show.ts'
import { slowName, slowSentence } from '../../encap/slow_reason.ts'
import { nextChain, putChain } from '../../flow/chain.ts'
import { isU32, unpack } from '../../flow/classifier.ts'
import type { FlowContext } from '../../flow/context.ts'
import { putFlow } from '../../flow/flow.ts'
import { takeFlows } from '../../flow/flow_table.ts'
import { matchScratch } from '../../flow/match_scratch.ts'
import { nextPrio, putPrio } from '../../flow/prio.ts'
import { withRtnl } from '../../flow/rtnl.ts'
import { u32Walk } from '../../flow/u32.ts'
import { keyCount, keyOf, knodeOf } from '../../flow/u32_node.ts'
import type { Arena } from '../../memory/arena.ts'
import { counterRead } from '../../memory/counters.ts'
import * as F from '../../memory/layout/flow.ts'
import { NETDEV_EGRESS, NETDEV_INGRESS } from '../../memory/layout/netdev.ts'
import { KNODE_FLOW } from '../../memory/layout/u32.ts'
import { netdevName, nextNetdev } from '../../net/netdev.ts'
import { formatProtocol } from '../../tc/protocol_text.ts'
import { actionWords } from '../../trace/actions.ts'
import { say } from '../../trace/fields.ts'
import { SELKEY_MASK, SELKEY_OFF, SELKEY_OFFMASK, SELKEY_VAL } from '../../wire/tca_u32.ts'
import { devicesOf } from './devices.ts'
import { shadowedBy } from './shadow.ts'
import { checkQuery, numberOf, type Query } from './table.ts'

export type { EncapDetail }

export interface FlowRow {
  /** p0-ingress, vxlan0-egress, block-22 */
  readonly hook: string
  readonly chain: number
  readonly pref: number
  readonly protocol: string
  readonly kind: string
  readonly handle: number
  /** What it asks for; empty: every packet of the protocol. */
  readonly match: string
  readonly actions: readonly string[]
  readonly path: 'fast' | 'slow'
  /** Why it is on the slow path, null on the fast one. */
  readonly why: { readonly name: string; readonly sentence: string } | null
  /** Its tunnel destinations, and what they stand on. */
  readonly encaps: readonly EncapDetail[]
  /** The earlier rule that takes all of its packets; null without, absent when not asked for. */
  readonly shadowedBy?: { readonly pref: number; readonly handle: number } | null
  readonly packets: number
  readonly bytes: number
  /** Milliseconds since a packet came, null: never. */
  readonly used: number | null
}

export interface FlowPage {
  readonly flows: readonly FlowRow[]
  readonly next: number | null
}

/** Rows of a page when nobody says how many, and at most. */
const LIMIT = 1000
const LIMIT_MAX = 10_000
const KINDS: Readonly<Record<number, string>> = {
  [F.PRIO_KIND_FLOWER]: 'flower',
  [F.PRIO_KIND_MATCHALL]: 'matchall',
  [F.PRIO_KIND_U32]: 'u32',
  [F.PRIO_KIND_FW]: 'fw',
}
const one = new Int32Array(64)
const scratch = matchScratch()
const swap = (v: number): number => ((v & 255) << 8) | ((v >>> 8) & 255)

interface Page {
  readonly c: FlowContext
  readonly now: number
  readonly why: boolean
  readonly encaps: ReadonlyMap<number, EncapDetail>
  readonly rows: FlowRow[]
  readonly limit: number
  /** Rows to pass over. */
  skip: number
  more: boolean
}

export function flows(c: FlowContext, now: number, query: Query): FlowPage {
  checkQuery(query, 'why', 'dev', 'from', 'limit')
  const from = numberOf(query, 'from', 0, 2 ** 31)
  const limit = Math.max(1, numberOf(query, 'limit', LIMIT, LIMIT_MAX))
  const page: Page = {
    c,
    now,
    why: numberOf(query, 'why', 0, 1) === 1,
    encaps: new Map(encapDetails(c.a, now).map((e) => [e.id, e])),
    rows: [],
    limit,
    skip: from,
    more: false,
  }
  const { a } = c
  const seen = new Set<number>()
  for (let dev = nextNetdev(a, 0); dev !== 0 && !page.more; dev = nextNetdev(a, dev)) {
    const name = netdevName(a, dev)
    if (query.dev !== undefined && query.dev !== name) continue
    for (const [field, side] of [
      [NETDEV_INGRESS, 'ingress'],
      [NETDEV_EGRESS, 'egress'],
    ] as const) {
      const block = a.m[(dev + field) >> 2]
      if (block === 0 || seen.has(block)) continue
      seen.add(block)
      const index = a.m[(block + F.BLOCK_INDEX) >> 2]
      blockRows(page, block, index === 0 ? `${name}-${side}` : `block-${index}`)
    }
  }
  return { flows: page.rows, next: page.more ? from + page.rows.length : null }
}

function blockRows(page: Page, block: number, hook: string): void {
  const { a } = page.c
  let chain = nextChain(a, block, 0)
  for (; chain !== 0 && !page.more; chain = nextChain(a, block, chain)) {
    let prio = nextPrio(a, chain, 0)
    for (; prio !== 0 && !page.more; prio = nextPrio(a, chain, prio)) prioRows(page, hook, chain, prio)
    if (prio !== 0) putPrio(a, prio)
  }
  if (chain !== 0) putChain(a, chain)
}

function prioRows(page: Page, hook: string, chain: number, prio: number): void {
  const { c } = page
  const { a } = c
  if (isU32(a.m, prio)) {
    withRtnl(a, () =>
      u32Walk(c, prio, ({ knode }) => add(page, hook, chain, prio, knode === 0 ? 0 : a.m[(knode + KNODE_FLOW) >> 2])),
    )
    return
  }
  for (let handle = 0; !page.more; ) {
    const n = takeFlows(a.m, prio, handle, one)
    for (let i = 0; i < n; i++) {
      const flow = one[i]
      handle = (a.m[(flow + F.FLOW_HANDLE) >> 2] >>> 0) + 1
      add(page, hook, chain, prio, flow)
      putFlow(a, flow)
    }
    if (n < one.length) return
  }
}

/** A row for the flow, if there is one and it is on the page. */
function add(page: Page, hook: string, chain: number, prio: number, flow: number): void {
  if (flow === 0 || page.more) return
  if (page.skip > 0) page.skip--
  else if (page.rows.length === page.limit) page.more = true
  else page.rows.push(row(page, hook, chain, prio, flow))
}

/** The words of the packet that a u32 node compares, as `tc filter show` writes them. */
function u32Text(a: Arena, knode: number): string {
  const d = new DataView(a.u8.buffer, a.u8.byteOffset, a.u8.byteLength)
  const hex = (n: number): string => n.toString(16).padStart(8, '0')
  return Array.from({ length: keyCount(a, knode) }, (_, i) => {
    const key = keyOf(knode, i)
    const nexthdr = d.getInt32(key + SELKEY_OFFMASK, true) === 0 ? '' : 'nexthdr+'
    return `${hex(d.getUint32(key + SELKEY_VAL))}/${hex(d.getUint32(key + SELKEY_MASK))} at ${nexthdr}${d.getInt32(key + SELKEY_OFF, true)}`
  }).join(', ')
}

function row({ c, now, why, encaps }: Page, hook: string, chain: number, prio: number, flow: number): FlowRow {
  const { m } = c.a
  const word = (field: number): number => m[(flow + field) >> 2]
  const kind = m[(prio + F.PRIO_KIND) >> 2]
  const slow = (word(F.FLOW_FLAGS) & F.FLOW_F_SLOW) !== 0
  const counter = counterRead(c.a, word(F.FLOW_COUNTER))
  const u32 = isU32(m, prio)
  const shadow = why && !u32 ? shadowedBy(c, chain, flow, scratch) : 0
  if (!u32) unpack(m, flow, scratch)
  return {
    hook,
    chain: m[(chain + F.CHAIN_INDEX) >> 2] >>> 0,
    pref: m[(prio + F.PRIO_PREF) >> 2],
    protocol: formatProtocol(swap(m[(prio + F.PRIO_PROTO) >> 2])),
    kind: KINDS[kind] ?? `kind ${kind}`,
    handle: word(F.FLOW_HANDLE) >>> 0,
    match: u32 ? u32Text(c.a, knodeOf(m, flow)) : matchText(),
    actions: actionWords(c, flow, devicesOf(c.a)),
    path: slow ? 'slow' : 'fast',
    why: slow ? { name: slowName(word(F.FLOW_WHY)), sentence: slowSentence(word(F.FLOW_WHY)) } : null,
    encaps: encapIds(c.a, flow).flatMap((id) => encaps.get(id) ?? []),
    ...(why
      ? {
          shadowedBy:
            shadow === 0
              ? null
              : {
                  pref: m[(m[(m[(shadow + F.FLOW_MASK) >> 2] + F.MASK_PRIO) >> 2] + F.PRIO_PREF) >> 2],
                  handle: m[(shadow + F.FLOW_HANDLE) >> 2] >>> 0,
                },
        }
      : {}),
    packets: counter.packets,
    bytes: counter.bytes,
    used: counter.lastUsed === 0 ? null : Math.max(0, (Math.floor(now) - (counter.lastUsed - 1)) | 0),
  }
}

/** What the flow in the scratch asks for. */
function matchText(): string {
  const range = (word: string, r: number): string => (r === 0 ? '' : `${word} ${r & 0xffff}-${r >>> 16}`)
  return [say(scratch.mask, scratch.key), range('dst_port', scratch.rangeDst), range('src_port', scratch.rangeSrc)]
    .filter((s) => s !== '')
    .join(', ')
}
