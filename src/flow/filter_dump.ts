// RTM_GETTFILTER as a dump: every prio of every chain of a block, each with its head and its filters (tc_dump_tfilter).
//
// Chains in the order in which they came, prios by pref, filters by handle. Filters are taken a few at a time with a
// reference, so that the prio's lock is held briefly however large the table. The dump is a generator of such batches: at
// a yield it holds nothing but a reference to the chain and the prio that it is in (which keep the block), so that it may
// rest there, between two read sections, for as long as a slow reader takes. A filter that is there throughout is shown
// once: handles rise within a prio, prefs within a chain, and a chain keeps its place. Nothing more is promised, as in
// the kernel: tc_dump_tfilter counts no generation and never sets NLM_F_DUMP_INTR.

import { CHAIN_INDEX, FLOW_HANDLE, PRIO_PREF, PRIO_PROTO } from '../memory/layout/flow.ts'
import { Builder, msgPid, msgSeq, NLM_F_MULTI } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { type ChainEvents, nextChain, putChain } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { isU32 } from './classifier.ts'
import type { FlowContext } from './context.ts'
import { fillFilter, fillU32, type Reply } from './filter_message.ts'
import { putFlow } from './flow.ts'
import { takeFlows } from './flow_table.ts'
import { findHookForDump } from './hook.ts'
import { nextPrio, putPrio } from './prio.ts'
import { withRtnl } from './rtnl.ts'
import { parseTcm, tca } from './tcm_request.ts'
import { u32Walk } from './u32.ts'

const BATCH = 64
const batch = new Int32Array(BATCH)
const builder = new Builder(8192)

/** What a dump is asked for: 0 or -1 is anything. */
interface Wanted {
  readonly chain: number
  readonly pref: number
  readonly protocol: number
  readonly terse: boolean
}

/** The messages of a dump, a batch at a time; the end of the dump is the caller's to say. */
export function* dumpFilters(c: FlowContext, d: DataView): Generator<Uint8Array[], void> {
  parseTcm(d)
  const { a } = c
  const hook = findHookForDump(a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  if (hook === undefined) return
  const info = Tcm.tcmInfo(d)
  const flags = tca[Tcm.TCA_DUMP_FLAGS]
  const want: Wanted = {
    chain: tca[Tcm.TCA_CHAIN] === 0 ? -1 : d.getUint32(tca[Tcm.TCA_CHAIN], true),
    pref: info >>> 16,
    protocol: info & 0xffff,
    terse: flags !== 0 && (d.getUint32(flags, true) & d.getUint32(flags + 4, true) & Tcm.TCA_DUMP_FLAGS_TERSE) !== 0,
  }
  const header: Reply = {
    type: Tcm.RTM_NEWTFILTER,
    flags: NLM_F_MULTI,
    seq: msgSeq(d),
    pid: msgPid(d),
    ifindex: hook.ifindex,
    parent: hook.parent,
  }
  const events = chainEvents(c)
  let chain = nextChain(a, hook.block, 0)
  try {
    for (; chain !== 0; chain = nextChain(a, hook.block, chain, events))
      if (want.chain < 0 || want.chain === chainIndex(c, chain)) yield* dumpChain(c, chain, header, want, events)
  } finally {
    // Given up in the middle.
    if (chain !== 0) putChain(a, chain, events)
  }
}

function* dumpChain(
  c: FlowContext,
  chain: number,
  header: Reply,
  want: Wanted,
  events: ChainEvents,
): Generator<Uint8Array[], void> {
  let prio = nextPrio(c.a, chain, 0)
  try {
    for (; prio !== 0; prio = nextPrio(c.a, chain, prio, events))
      if (isWanted(c, prio, want)) yield* dumpPrio(c, prio, header, want.terse)
  } finally {
    if (prio !== 0) putPrio(c.a, prio, events)
  }
}

const chainIndex = (c: FlowContext, chain: number): number => c.a.m[(chain + CHAIN_INDEX) >> 2]

function isWanted(c: FlowContext, prio: number, want: Wanted): boolean {
  const { m } = c.a
  if (want.pref !== 0 && want.pref !== m[(prio + PRIO_PREF) >> 2]) return false
  return want.protocol === 0 || want.protocol === m[(prio + PRIO_PROTO) >> 2]
}

function* dumpPrio(c: FlowContext, prio: number, header: Reply, terse: boolean): Generator<Uint8Array[], void> {
  const { a } = c
  fillFilter(c, builder, header, prio, 0)
  let messages = [builder.end()]
  if (isU32(a.m, prio)) {
    withRtnl(a, () =>
      u32Walk(c, prio, (o) => {
        fillU32(c, builder, header, prio, o)
        messages.push(builder.end())
      }),
    )
    yield messages
    return
  }
  for (let handle = 0; ; ) {
    const n = takeFlows(a.m, prio, handle, batch)
    for (let i = 0; i < n; i++) {
      fillFilter(c, builder, header, prio, batch[i], terse)
      messages.push(builder.end())
      handle = (a.m[(batch[i] + FLOW_HANDLE) >> 2] >>> 0) + 1
      putFlow(a, batch[i])
    }
    yield messages
    if (n < BATCH) return
    messages = []
  }
}
