// Chains in messages: RTM_{NEW,DEL}CHAIN (tc_chain_fill_node).
//
// A chain is announced when it begins to be shown (its first holder that is not a goto action) and when it ceases to be,
// whatever request did that; these announcements answer nobody and have no sequence number.

import {
  BLOCK_DEV,
  BLOCK_INDEX,
  CHAIN_BLOCK,
  CHAIN_INDEX,
  CHAIN_TEMPLATE,
  TEMPLATE_KEY,
  TEMPLATE_MASK,
} from '../memory/layout/flow.ts'
import { KEY_SIZE_OPTS } from '../memory/layout/flow_key.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import { Builder, NLM_F_CREATE, NLM_F_EXCL } from '../wire/netlink.ts'
import {
  RTM_DELCHAIN,
  RTM_NEWCHAIN,
  TCA_CHAIN,
  TCA_KIND,
  TCA_OPTIONS,
  TCM_IFINDEX_MAGIC_BLOCK,
  tcmsg,
} from '../wire/tcm.ts'
import type { ChainEvents } from './chain.ts'
import { flower, putKeys } from './classifier.ts'
import type { FlowContext } from './context.ts'
import { matchScratch } from './match_scratch.ts'

/** Handle of the qdiscs that have blocks. */
const QDISC_HANDLE = 0xffff0000

const shown = matchScratch()

/** Begins `b` anew with a message about the chain; the caller ends it. */
export function fillChain(
  c: FlowContext,
  b: Builder,
  chain: number,
  type: number,
  flags: number,
  seq: number,
  pid: number,
): void {
  const { m } = c.a
  const block = m[(chain + CHAIN_BLOCK) >> 2]
  const index = m[(block + BLOCK_INDEX) >> 2] >>> 0
  b.begin(type, flags, seq, pid)
  if (index !== 0) tcmsg(b, TCM_IFINDEX_MAGIC_BLOCK, 0, index, 0)
  else tcmsg(b, m[(m[(block + BLOCK_DEV) >> 2] + NETDEV_IFINDEX) >> 2], 0, QDISC_HANDLE, 0)
  b.attrU32(TCA_CHAIN, m[(chain + CHAIN_INDEX) >> 2])
  const template = m[(chain + CHAIN_TEMPLATE) >> 2]
  if (template === 0) return
  b.attrStr(TCA_KIND, flower.name)
  const options = b.nest(TCA_OPTIONS)
  putTemplate(c, b, template)
  b.nestEnd(options)
}

/** fl_tmplt_dump: its keys as a filter's. */
function putTemplate(c: FlowContext, b: Builder, template: number): void {
  const { m } = c.a
  for (let i = 0; i < KEY_SIZE_OPTS >> 2; i++) {
    shown.mask32[i] = m[((template + TEMPLATE_MASK) >> 2) + i]
    shown.key32[i] = m[((template + TEMPLATE_KEY) >> 2) + i]
  }
  putKeys(c, b, shown)
}

const made = new WeakMap<FlowContext, ChainEvents>()
const silent: ChainEvents = {}
const builder = new Builder(2048)

/** The announcements of this thread, if anybody wants them. */
export function chainEvents(c: FlowContext): ChainEvents {
  const { notify } = c
  if (notify === undefined) return silent
  let events = made.get(c)
  if (events === undefined) {
    const say = (chain: number, type: number, flags: number): void => {
      fillChain(c, builder, chain, type, flags, 0, 0)
      notify(builder.end())
    }
    events = {
      chainShown: (chain) => say(chain, RTM_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL),
      chainHidden: (chain) => say(chain, RTM_DELCHAIN, 0),
    }
    made.set(c, events)
  }
  return events
}
