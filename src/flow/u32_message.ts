// Tables and nodes of u32 filters as the content of TCA_OPTIONS (u32_dump of cls_u32.c).

import { counterRead } from '../memory/counters.ts'
import { FLOW_CLASSID, FLOW_CLS_FLAGS } from '../memory/layout/flow.ts'
import * as U from '../memory/layout/u32.ts'
import { netdevName, netdevSlot } from '../net/netdev.ts'
import type { Builder } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_u32.ts'
import type { FlowContext } from './context.ts'
import * as Node from './u32_node.ts'

/** What a handle means: a table, or a node. Both 0: nothing. */
export interface U32Object {
  readonly hnode: number
  readonly knode: number
}

/** The content of TCA_OPTIONS (u32_dump): all of a table, of a node what stands before the actions. */
export function putU32(c: FlowContext, b: Builder, o: U32Object): void {
  const { m, u8 } = c.a
  if (o.knode === 0) {
    b.attrU32(Tca.TCA_U32_DIVISOR, m[(o.hnode + U.HNODE_DIVISOR) >> 2] + 1)
    return
  }
  const { knode } = o
  const keys = Node.keyCount(c.a, knode)
  const sel = b.attrRoom(Tca.TCA_U32_SEL, Tca.SEL_KEYS + keys * Tca.SELKEY_SIZE)
  b.u8s.set(u8.subarray(knode + U.KNODE_SEL, knode + U.KNODE_SEL + Tca.SEL_KEYS), sel)
  for (let i = 0; i < keys; i++) {
    const key = Node.keyOf(knode, i)
    b.u8s.set(u8.subarray(key, key + Tca.SELKEY_SIZE), sel + Tca.SEL_KEYS + i * Tca.SELKEY_SIZE)
  }
  const word = (field: number): number => m[(knode + field) >> 2]
  b.attrU32(Tca.TCA_U32_HASH, word(U.KNODE_HANDLE) & 0xfffff000)
  const flow = word(U.KNODE_FLOW)
  const classid = m[(flow + FLOW_CLASSID) >> 2]
  if (classid !== 0) b.attrU32(Tca.TCA_U32_CLASSID, classid)
  if (word(U.KNODE_DOWN) !== 0) b.attrU32(Tca.TCA_U32_LINK, m[(word(U.KNODE_DOWN) + U.HNODE_HANDLE) >> 2])
  b.attrU32(Tca.TCA_U32_FLAGS, m[(flow + FLOW_CLS_FLAGS) >> 2])
  if (word(U.KNODE_MARK) !== 0 || word(U.KNODE_MARK_MASK) !== 0) {
    const mark = b.attrRoom(Tca.TCA_U32_MARK, Tca.MARK_SIZE)
    b.d.setInt32(mark, word(U.KNODE_MARK), true)
    b.d.setInt32(mark + 4, word(U.KNODE_MARK_MASK), true)
    b.d.setUint32(mark + 8, counterRead(c.a, word(U.KNODE_COUNTER_MARK)).packets >>> 0, true)
  }
}

/** What stands behind the actions of a node: the device, and struct tc_u32_pcnt { u64 rcnt, rhit, kcnts[]; }. */
export function putU32Tail(c: FlowContext, b: Builder, knode: number): void {
  const { m } = c.a
  const ifindex = m[(knode + U.KNODE_IFINDEX) >> 2]
  const name = ifindex === 0 ? '' : netdevName(c.a, netdevSlot(c.a, ifindex))
  if (name !== '') b.attrStr(Tca.TCA_U32_INDEV, name)
  const keys = Node.keyCount(c.a, knode)
  const at = b.attrRoom(Tca.TCA_U32_PCNT, 16 + keys * 8)
  const put = (i: number, counter: number): void =>
    b.d.setBigUint64(at + i * 8, BigInt(counterRead(c.a, counter).packets), true)
  put(0, m[(knode + U.KNODE_COUNTER_HIT) >> 2])
  put(1, m[(knode + U.KNODE_COUNTER_SUCCESS) >> 2])
  for (let i = 0; i < keys; i++) put(2 + i, m[(Node.keyOf(knode, i) + U.KNODE_KEY_COUNTER) >> 2])
}
