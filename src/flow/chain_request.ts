// RTM_{NEW,DEL,GET}CHAIN: chains made on purpose, with or without a template (tc_ctl_chain).
//
// `tc chain add` holds a chain until `tc chain del`, which deletes its filters too. A template says which bits the
// filters of the chain may look at; it is kept as flower's key and mask bytes.

import {
  CHAIN_F_EXPLICIT,
  CHAIN_FLAGS,
  CHAIN_INDEX,
  CHAIN_REFCNT,
  CHAIN_TEMPLATE,
  TEMPLATE_KEY,
  TEMPLATE_MASK,
  TEMPLATE_SIZE,
} from '../memory/layout/flow.ts'
import { KEY_SIZE_OPTS } from '../memory/layout/flow_key.ts'
import { alloc, TAG_TEMPLATE } from '../memory/pool.ts'
import { Builder, msgFlags, msgPid, msgSeq, NLM_F_CREATE, NLM_F_MULTI } from '../wire/netlink.ts'
import { EEXIST, EINVAL, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import {
  createChainLocked,
  heldByActionsOnly,
  lookupChainLocked,
  nextChain,
  putChain,
  putChainExplicit,
  withBlock,
} from './chain.ts'
import { chainEvents, fillChain } from './chain_message.ts'
import { classifierAt, flower } from './classifier.ts'
import type { FlowContext } from './context.ts'
import { flushChain } from './filter_delete.ts'
import { findHook, findHookForDump } from './hook.ts'
import { matchScratch } from './match_scratch.ts'
import { chainIndexOf, optionsEnd, parseTcm, replyTo, tca } from './tcm_request.ts'

const builder = new Builder(2048)
const scratch = matchScratch()

/** RTM_NEWCHAIN. */
export function newChain(c: FlowContext, d: DataView): void {
  parseTcm(d)
  const { a } = c
  const { m } = a
  const { block } = findHook(a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  const index = chainIndexOf(d)
  // Made before the chain is found, where the kernel makes it afterwards and takes the chain back when it is refused:
  // with one exception, which of two reasons is told first, that comes to the same.
  const chain = withBlock(m, block, () => {
    let chain = lookupChainLocked(m, block, index)
    if (chain !== 0 && !heldByActionsOnly(m, chain)) throw new NetlinkError(EEXIST, 'Filter chain already exists')
    if (chain === 0) {
      if ((msgFlags(d) & NLM_F_CREATE) === 0) {
        throw new NetlinkError(ENOENT, 'Need both RTM_NEWCHAIN and NLM_F_CREATE to create a new chain')
      }
      chain = createChainLocked(a, block, index)
    }
    m[(chain + CHAIN_REFCNT) >> 2] += 2 // ours for the length of the request, and that of `tc chain add`
    m[(chain + CHAIN_FLAGS) >> 2] |= CHAIN_F_EXPLICIT
    return chain
  })
  const events = chainEvents(c)
  try {
    m[(chain + CHAIN_TEMPLATE) >> 2] = makeTemplate(c, d)
    events.chainShown?.(chain)
  } catch (e) {
    putChainExplicit(a, chain)
    throw e
  } finally {
    putChain(a, chain, events)
  }
}

/** The template of the request, 0 when it has none. */
function makeTemplate(c: FlowContext, d: DataView): number {
  if (tca[Tcm.TCA_KIND] === 0) return 0
  const kind = classifierAt(d, tca[Tcm.TCA_KIND])
  if (kind !== flower) {
    throw new NetlinkError(EOPNOTSUPP, 'Chain templates are not supported with specified classifier')
  }
  if (tca[Tcm.TCA_OPTIONS] === 0) throw new NetlinkError(EINVAL, 'flower: options are missing')
  const { match } = flower.parse(c, d, tca[Tcm.TCA_OPTIONS], optionsEnd(d), scratch, { prio: 0, handle: 0, old: 0 })
  const { m } = c.a
  const template = alloc(c.a, TEMPLATE_SIZE, TAG_TEMPLATE)
  for (let i = 0; i < KEY_SIZE_OPTS >> 2; i++) {
    m[((template + TEMPLATE_MASK) >> 2) + i] = match.mask32[i]
    m[((template + TEMPLATE_KEY) >> 2) + i] = match.key32[i]
  }
  return template
}

/** A reference to the chain that a request means; EINVAL when it is not shown. */
function takeShown(c: FlowContext, d: DataView, block: number): number {
  const { m } = c.a
  const index = chainIndexOf(d)
  return withBlock(m, block, () => {
    const chain = lookupChainLocked(m, block, index)
    if (chain === 0 || heldByActionsOnly(m, chain)) {
      throw new NetlinkError(EINVAL, 'Cannot find specified filter chain')
    }
    m[(chain + CHAIN_REFCNT) >> 2]++
    return chain
  })
}

/** RTM_DELCHAIN: its filters go, and the reference of `tc chain add`. */
export function delChain(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const hook = findHook(c.a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  const chain = takeShown(c, d, hook.block)
  const events = chainEvents(c)
  const header = replyTo(d, hook, Tcm.RTM_DELTFILTER)
  try {
    flushChain(c, chain, events, header, reply)
    putChainExplicit(c.a, chain, events)
  } finally {
    putChain(c.a, chain, events)
  }
}

/** RTM_GETCHAIN of one chain. */
export function getChainRequest(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const { block } = findHook(c.a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  const chain = takeShown(c, d, block)
  try {
    fillChain(c, builder, chain, Tcm.RTM_GETCHAIN, msgSeq(d) & 0xffff, msgSeq(d), msgPid(d))
    reply(builder.end())
  } finally {
    putChain(c.a, chain, chainEvents(c))
  }
}

/** RTM_GETCHAIN as a dump: the chains that are shown, in the order in which they came. */
export function dumpChains(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const { a } = c
  const hook = findHookForDump(a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  if (hook === undefined) return
  const want = tca[Tcm.TCA_CHAIN] === 0 ? -1 : d.getUint32(tca[Tcm.TCA_CHAIN], true)
  const events = chainEvents(c)
  for (let chain = nextChain(a, hook.block, 0); chain !== 0; chain = nextChain(a, hook.block, chain, events)) {
    if (want >= 0 && a.m[(chain + CHAIN_INDEX) >> 2] !== want) continue
    fillChain(c, builder, chain, Tcm.RTM_NEWCHAIN, NLM_F_MULTI, msgSeq(d), msgPid(d))
    reply(builder.end())
  }
}
