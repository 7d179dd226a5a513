// fw: filters by the packet's mark (cls_fw.c). The handle is the mark; all filters of a prio look at the same bits of it,
// those that the first one named. A flow of it looks at the mark and, with `indev`, at the device.
//
// Two things are refused by name: the old method, a prio without filters whose packets have their class in the mark, for
// there are no classes here; and another device for a filter that is there.

import { FLOW_CLASSID, FLOW_NACTIONS, PRIO_FW_MASK, PRIO_KIND_FW, PRIO_NFLOWS } from '../memory/layout/flow.ts'
import { KEY_INDEV, KEY_MARK, KEY_NEVER } from '../memory/layout/flow_key.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import { netdevByName, netdevName, netdevSlot } from '../net/netdev.ts'
import { attrLen, attrString, NLA_HDRLEN, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, EOPNOTSUPP, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_fw.ts'
import { type Classifier, unpack } from './classifier.ts'
import { clearScratch, matchScratch, pack } from './match_scratch.ts'

const EVERY_BIT = -1
const attrs = new Int32Array(Tca.TCA_FW_MAX + 1)
const shown = matchScratch()

export const fw: Classifier = {
  name: 'fw',
  kind: PRIO_KIND_FW,
  single: false,
  rtnl: true,
  act: Tca.TCA_FW_ACT,

  parse(c, d, o, end, s, at) {
    const { m } = c.a
    if (o === 0) {
      if (at.handle !== 0) throw new NetlinkError(EINVAL, 'fw: options are missing')
      throw new NetlinkError(EOPNOTSUPP, 'flowerbed: fw without a handle (the mark as class) is not supported')
    }
    parseAttrs(d, o, end, attrs, Tca.TCA_FW_MAX)
    const u32 = (type: number, otherwise: number): number => {
      if (attrs[type] === 0) return otherwise
      if (attrLen(d, attrs[type]) < 4) throw new NetlinkError(EINVAL, POLICY_TEXT, attrs[type] - NLA_HDRLEN)
      return d.getInt32(attrs[type], true)
    }
    if (at.handle === 0) throw new NetlinkError(EINVAL, 'fw: a handle is needed: the mark')
    if (attrs[Tca.TCA_FW_POLICE] !== 0) throw new NetlinkError(EOPNOTSUPP, 'flowerbed: use action police')
    const mask = u32(Tca.TCA_FW_MASK, EVERY_BIT)
    const first = m[(at.prio + PRIO_NFLOWS) >> 2] === 0
    if (first) m[(at.prio + PRIO_FW_MASK) >> 2] = mask
    else if (m[(at.prio + PRIO_FW_MASK) >> 2] !== mask)
      throw new NetlinkError(EINVAL, 'fw: filters of one preference share a mask', attrs[Tca.TCA_FW_MASK] - NLA_HDRLEN)
    clearScratch(s)
    s.mask32[KEY_MARK >> 2] = mask
    s.key32[KEY_MARK >> 2] = at.handle & mask
    if ((at.handle & ~mask) !== 0) {
      s.mask32[KEY_NEVER >> 2] = EVERY_BIT
      s.key32[KEY_NEVER >> 2] = EVERY_BIT
    }
    const was = at.old === 0 ? 0 : deviceOf(m, at.old)
    const dev = attrs[Tca.TCA_FW_INDEV] === 0 ? 0 : netdevByName(c.a, attrString(d, attrs[Tca.TCA_FW_INDEV]))
    if (attrs[Tca.TCA_FW_INDEV] !== 0 && dev === 0) throw new NetlinkError(EINVAL, 'Network device not found')
    const ifindex = dev === 0 ? was : m[(dev + NETDEV_IFINDEX) >> 2]
    if (at.old !== 0 && ifindex !== was) {
      throw new NetlinkError(EOPNOTSUPP, 'flowerbed: fw: a change of indev is not supported')
    }
    if (ifindex !== 0) {
      s.mask32[KEY_INDEV >> 2] = EVERY_BIT
      s.key32[KEY_INDEV >> 2] = ifindex
    }
    pack(s)
    const classid = u32(Tca.TCA_FW_CLASSID, at.old === 0 ? 0 : m[(at.old + FLOW_CLASSID) >> 2])
    return { flags: 0, classid, act: attrs[Tca.TCA_FW_ACT], match: s }
  },

  shows: (m, flow) => m[(flow + FLOW_CLASSID) >> 2] !== 0 || m[(flow + FLOW_NACTIONS) >> 2] > 0,

  put(c, b, flow, _terse, prio) {
    const { m } = c.a
    const classid = m[(flow + FLOW_CLASSID) >> 2]
    if (classid !== 0) b.attrU32(Tca.TCA_FW_CLASSID, classid)
    const ifindex = deviceOf(m, flow)
    const name = ifindex === 0 ? '' : netdevName(c.a, netdevSlot(c.a, ifindex))
    if (name !== '') b.attrStr(Tca.TCA_FW_INDEV, name)
    const mask = m[(prio + PRIO_FW_MASK) >> 2]
    if (mask !== EVERY_BIT) b.attrU32(Tca.TCA_FW_MASK, mask)
  },
}

/** ifindex that the flow asks for, 0 without. */
function deviceOf(m: Int32Array, flow: number): number {
  unpack(m, flow, shown)
  return shown.mask32[KEY_INDEV >> 2] === 0 ? 0 : shown.key32[KEY_INDEV >> 2]
}
