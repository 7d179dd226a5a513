// RTM_GETTFILTER as a dump: every prio of every chain of a block, each with its head and its filters (tc_dump_tfilter).
//
// Chains in the order in which they came, prios by pref, filters by handle. Filters are taken a few at a time with a
// reference, so that the prio's lock is held briefly however large the table; between two such batches this thread
// declares a quiescent state, because a dump of a million filters must not hold up everybody's frees.

import { CHAIN_INDEX, FLOW_HANDLE, PRIO_PREF, PRIO_PROTO } from '../memory/layout/flow.ts'
import { Builder, msgPid, msgSeq, NLM_F_MULTI } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { nextChain } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { isU32 } from './classifier.ts'
import { type FlowContext, pause } from './context.ts'
import { fillFilter, fillU32, type Reply } from './filter_message.ts'
import { putFlow } from './flow.ts'
import { takeFlows } from './flow_table.ts'
import { findHookForDump } from './hook.ts'
import { nextPrio } from './prio.ts'
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

/** Answers a dump request; the end of the dump is the caller's to say. */
export function dumpFilters(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
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
  for (let chain = nextChain(a, hook.block, 0); chain !== 0; chain = nextChain(a, hook.block, chain, events)) {
    if (want.chain >= 0 && want.chain !== chainIndex(c, chain)) continue
    for (let prio = nextPrio(a, chain, 0); prio !== 0; prio = nextPrio(a, chain, prio, events)) {
      if (isWanted(c, prio, want)) dumpPrio(c, prio, header, want.terse, reply)
    }
  }
}

const chainIndex = (c: FlowContext, chain: number): number => c.a.m[(chain + CHAIN_INDEX) >> 2]

function isWanted(c: FlowContext, prio: number, want: Wanted): boolean {
  const { m } = c.a
  if (want.pref !== 0 && want.pref !== m[(prio + PRIO_PREF) >> 2]) return false
  return want.protocol === 0 || want.protocol === m[(prio + PRIO_PROTO) >> 2]
}

function dumpPrio(c: FlowContext, prio: number, header: Reply, terse: boolean, reply: (m: Uint8Array) => void): void {
  const { a } = c
  fillFilter(c, builder, header, prio, 0)
  reply(builder.end())
  if (isU32(a.m, prio)) {
    withRtnl(a, () =>
      u32Walk(c, prio, (o) => {
        fillU32(c, builder, header, prio, o)
        reply(builder.end())
      }),
    )
    return
  }
  for (let handle = 0; ; ) {
    const n = takeFlows(a.m, prio, handle, batch)
    for (let i = 0; i < n; i++) {
      fillFilter(c, builder, header, prio, batch[i], terse)
      reply(builder.end())
      handle = (a.m[(batch[i] + FLOW_HANDLE) >> 2] >>> 0) + 1
      putFlow(a, batch[i])
    }
    if (n < BATCH) return
    pause(a)
  }
}
