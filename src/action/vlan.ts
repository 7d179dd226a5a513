// vlan: pushes, pops or changes the outer VLAN tag; with pop_eth and push_eth the Ethernet header (m_vlan.c, act_vlan.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { KEY_VLAN_TCI } from '../memory/layout/flow_key.ts'
import {
  OP_VLAN_MODIFY,
  OP_VLAN_POP,
  OP_VLAN_POP_ETH,
  OP_VLAN_PUSH,
  OP_VLAN_PUSH_ETH,
} from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { formatProtocol, parseProtocol } from '../tc/protocol_text.ts'
import {
  FLOW_ACTION_INVALID,
  FLOW_ACTION_VLAN_MANGLE,
  FLOW_ACTION_VLAN_POP,
  FLOW_ACTION_VLAN_POP_ETH,
  FLOW_ACTION_VLAN_PUSH,
  FLOW_ACTION_VLAN_PUSH_ETH,
} from '../wire/flow_action_id.ts'
import { attrLen, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, EPROTONOSUPPORT, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_ID_VLAN,
  TCA_VLAN_ACT_MODIFY,
  TCA_VLAN_ACT_POP,
  TCA_VLAN_ACT_POP_ETH,
  TCA_VLAN_ACT_PUSH,
  TCA_VLAN_ACT_PUSH_ETH,
  TCA_VLAN_PARMS,
  TCA_VLAN_PUSH_ETH_DST,
  TCA_VLAN_PUSH_ETH_SRC,
  TCA_VLAN_PUSH_VLAN_ID,
  TCA_VLAN_PUSH_VLAN_PRIORITY,
  TCA_VLAN_PUSH_VLAN_PROTOCOL,
  TCA_VLAN_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, dropControl, printControl, readControlAndIndex, setControl } from './control.ts'
import { headerChanged } from './offload.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: what is done; TPID (host order), id, priority and whether it was given; destination and source address. */
const V_ACTION = ACT_PARAMS
const TPID = ACT_PARAMS + 4
const VID = ACT_PARAMS + 8
const PRIO = ACT_PARAMS + 12
const HAS_PRIO = ACT_PARAMS + 16
const MACS = ACT_PARAMS + 20

/** Tags that a NIC pushes, or pops, in one rule. */
const DEPTH = 2

const NAMES: Readonly<Record<number, string>> = {
  [TCA_VLAN_ACT_POP]: 'pop',
  [TCA_VLAN_ACT_PUSH]: 'push',
  [TCA_VLAN_ACT_MODIFY]: 'modify',
  [TCA_VLAN_ACT_POP_ETH]: 'pop_eth',
  [TCA_VLAN_ACT_PUSH_ETH]: 'push_eth',
}
/** In the order in which tc tries them: `p` is pop. */
const WORDS = [
  TCA_VLAN_ACT_POP,
  TCA_VLAN_ACT_PUSH,
  TCA_VLAN_ACT_MODIFY,
  TCA_VLAN_ACT_POP_ETH,
  TCA_VLAN_ACT_PUSH_ETH,
] as const

const attrs = new Int32Array(TCA_VLAN_PUSH_ETH_SRC + 1)
const POLICY = policy(TCA_VLAN_PUSH_ETH_SRC, {
  [TCA_VLAN_TM]: 0,
  [TCA_VLAN_PARMS]: TC_GEN_LEN + 4,
  [TCA_VLAN_PUSH_VLAN_ID]: 2,
  [TCA_VLAN_PUSH_VLAN_PROTOCOL]: 2,
  [TCA_VLAN_PUSH_VLAN_PRIORITY]: 1,
  [TCA_VLAN_PUSH_ETH_DST]: 6,
  [TCA_VLAN_PUSH_ETH_SRC]: 6,
})

const isTag = (action: number): boolean => action === TCA_VLAN_ACT_PUSH || action === TCA_VLAN_ACT_MODIFY

interface Read {
  action: number
  id: number
  proto: number
  prio: number
  dst: Uint8Array | undefined
  src: Uint8Array | undefined
}

function readMac(args: Args, what: string): Uint8Array {
  args.next()
  const n = args.lladdr()
  if (n < 0) throw args.invarg(`${what} is invalid`)
  const mac = new Uint8Array(6)
  mac.set(args.mac.subarray(0, Math.min(n, 6)))
  return mac
}

function parseWords(args: Args): Read {
  const r: Read = { action: 0, id: -1, proto: -1, prio: -1, dst: undefined, src: undefined }
  const only = (good: boolean, what: string): void => {
    if (!good) throw args.invarg(`only valid for ${what}`)
  }
  for (; args.more; args.skip()) {
    const action = WORDS.find((a) => args.matches(NAMES[a]))
    if (action !== undefined) {
      if (r.action) throw args.fail(`unexpected "${args.word}" - action already specified`)
      r.action = action
    } else if (args.matches('id')) {
      only(isTag(r.action), 'push/modify')
      args.next()
      r.id = args.u16()
      if (r.id < 0) throw args.invarg('id is invalid')
    } else if (args.matches('protocol')) {
      only(isTag(r.action), 'push/modify')
      r.proto = parseProtocol(args.next())
      if (r.proto < 0) throw args.invarg('protocol is invalid')
    } else if (args.matches('priority')) {
      only(isTag(r.action), 'push/modify')
      args.next()
      r.prio = args.u8()
      if (r.prio < 0 || r.prio > 7) throw args.invarg('prio is invalid')
    } else if (args.matches('dst_mac')) {
      only(r.action === TCA_VLAN_ACT_PUSH_ETH, 'push_eth')
      r.dst = readMac(args, 'dst_mac')
    } else if (args.matches('src_mac')) {
      only(r.action === TCA_VLAN_ACT_PUSH_ETH, 'push_eth')
      r.src = readMac(args, 'src_mac')
    } else break
  }
  return r
}

/** What a driver is told, by TCA_VLAN_ACT_*. */
const IDS: Readonly<Record<number, number>> = {
  [TCA_VLAN_ACT_POP]: FLOW_ACTION_VLAN_POP,
  [TCA_VLAN_ACT_PUSH]: FLOW_ACTION_VLAN_PUSH,
  [TCA_VLAN_ACT_MODIFY]: FLOW_ACTION_VLAN_MANGLE,
  [TCA_VLAN_ACT_POP_ETH]: FLOW_ACTION_VLAN_POP_ETH,
  [TCA_VLAN_ACT_PUSH_ETH]: FLOW_ACTION_VLAN_PUSH_ETH,
}

export const vlan: ActionKind = {
  name: 'vlan',
  id: TCA_ID_VLAN,
  parms: TCA_VLAN_PARMS,
  parmsLen: TC_GEN_LEN + 4,

  parse(args, b) {
    args.next()
    const r = parseWords(args)
    const { control, index } = readControlAndIndex(args, TC_ACT_PIPE, 'vlan: Illegal "index"')
    if (isTag(r.action) && r.id < 0) throw args.fail(`id needs to be set for ${NAMES[r.action]}`)
    if (r.action === TCA_VLAN_ACT_PUSH_ETH && !(r.dst && r.src))
      throw args.fail(`${r.dst ? 'src_mac' : 'dst_mac'} needs to be set for push_eth`)
    const o = putParms(b, TCA_VLAN_PARMS, index, control, 4)
    b.d.setInt32(o, r.action, true)
    if (r.id >= 0) b.attrU16(TCA_VLAN_PUSH_VLAN_ID, r.id)
    if (r.proto >= 0) {
      if (r.proto !== 0x8100 && r.proto !== 0x88a8) throw args.fail('protocol not supported')
      b.attrBe16(TCA_VLAN_PUSH_VLAN_PROTOCOL, r.proto)
    }
    if (r.prio >= 0) b.attrU8(TCA_VLAN_PUSH_VLAN_PRIORITY, r.prio)
    if (r.dst) b.attr(TCA_VLAN_PUSH_ETH_DST, r.dst)
    if (r.src) b.attr(TCA_VLAN_PUSH_ETH_SRC, r.src)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'vlan')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_VLAN_PARMS]
    if (!parms) return
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    out.str('vlan_action', ' %s', NAMES[action] ?? '(null)')
    if (isTag(action)) {
      const [id, proto] = [attrs[TCA_VLAN_PUSH_VLAN_ID], attrs[TCA_VLAN_PUSH_VLAN_PROTOCOL]]
      const prio = attrs[TCA_VLAN_PUSH_VLAN_PRIORITY]
      if (id) out.num('id', ' id %u', d.getUint16(id, true))
      if (proto) out.str('protocol', ' protocol %s', formatProtocol(d.getUint16(proto)))
      if (prio) out.num('priority', ' priority %u', d.getUint8(prio))
    } else if (action === TCA_VLAN_ACT_PUSH_ETH) {
      const [dst, src] = [attrs[TCA_VLAN_PUSH_ETH_DST], attrs[TCA_VLAN_PUSH_ETH_SRC]]
      if (dst && attrLen(d, dst) === 6) out.str('dst_mac', ' dst_mac %s', out.mac(d, dst))
      if (src && attrLen(d, src) === 6) out.str('src_mac', ' src_mac %s', out.mac(d, src))
    }
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_VLAN_TM])
  },

  init(c, act, d, o, end) {
    const { m, u8 } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_VLAN_PARMS]
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    let tpid = 0
    let vid = 0
    if (!(action in NAMES)) throw new NetlinkError(EINVAL, 'vlan: no such action', parms - NLA_HDRLEN)
    if (isTag(action)) {
      const [id, proto] = [attrs[TCA_VLAN_PUSH_VLAN_ID], attrs[TCA_VLAN_PUSH_VLAN_PROTOCOL]]
      if (!id) throw new NetlinkError(EINVAL, 'vlan: the VLAN id is missing')
      vid = d.getUint16(id, true)
      if (vid >= 0xfff) throw new NetlinkError(ERANGE, '', id - NLA_HDRLEN)
      tpid = proto ? d.getUint16(proto) : 0x8100
      if (tpid !== 0x8100 && tpid !== 0x88a8)
        throw new NetlinkError(EPROTONOSUPPORT, 'vlan: a tag is 802.1Q or 802.1ad', proto - NLA_HDRLEN)
    } else if (action === TCA_VLAN_ACT_PUSH_ETH) {
      if (!attrs[TCA_VLAN_PUSH_ETH_DST] || !attrs[TCA_VLAN_PUSH_ETH_SRC])
        throw new NetlinkError(EINVAL, 'vlan: push_eth needs both addresses')
      for (let i = 0; i < 6; i++) {
        u8[act + MACS + i] = d.getUint8(attrs[TCA_VLAN_PUSH_ETH_DST] + i)
        u8[act + MACS + 6 + i] = d.getUint8(attrs[TCA_VLAN_PUSH_ETH_SRC] + i)
      }
    }
    const prio = attrs[TCA_VLAN_PUSH_VLAN_PRIORITY]
    checkControl(genAction(d, parms))
    m[(act + V_ACTION) >> 2] = action
    m[(act + TPID) >> 2] = tpid
    m[(act + VID) >> 2] = vid
    m[(act + PRIO) >> 2] = prio ? d.getUint8(prio) : 0
    m[(act + HAS_PRIO) >> 2] = prio ? 1 : 0
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    const action = m[(act + V_ACTION) >> 2]
    const tpid = m[(act + TPID) >> 2]
    const wire = ((tpid & 0xff) << 8) | (tpid >> 8)
    const tci = (m[(act + VID) >> 2] | (m[(act + PRIO) >> 2] << 13)) & 0xffff
    if (action === TCA_VLAN_ACT_POP) c.emit(OP_VLAN_POP)
    else if (action === TCA_VLAN_ACT_PUSH) c.emit(OP_VLAN_PUSH, wire, tci, c.counter(act))
    else if (action === TCA_VLAN_ACT_MODIFY)
      c.emit(OP_VLAN_MODIFY, wire, tci, m[(act + HAS_PRIO) >> 2] ? 0xefff : 0xfff)
    else if (action === TCA_VLAN_ACT_POP_ETH) c.emit(OP_VLAN_POP_ETH, c.counter(act))
    else {
      const w = (act + MACS) >> 2
      c.emit(OP_VLAN_PUSH_ETH, m[w], m[w + 1], m[w + 2], c.counter(act))
    }
  },

  offload(m, act, ids) {
    ids.push(IDS[m[(act + V_ACTION) >> 2]] ?? FLOW_ACTION_INVALID)
  },

  driverRefuses(m, act, r) {
    const action = m[(act + V_ACTION) >> 2]
    headerChanged(r)
    switch (action) {
      case TCA_VLAN_ACT_PUSH:
        return ++r.vlanPush > DEPTH ? 'Too many VLAN tags to push' : undefined
      case TCA_VLAN_ACT_POP:
        return ++r.vlanPop > DEPTH ? 'Too many VLAN tags to pop' : undefined
      case TCA_VLAN_ACT_MODIFY: {
        const tci = r.mask[KEY_VLAN_TCI]
        if (tci === 0 && r.mask[KEY_VLAN_TCI + 1] === 0) return 'VLAN rewrite is supported only with a match on VLAN'
        if (m[(act + HAS_PRIO) >> 2] === 0) return undefined
        const matched = (tci & 0xe0) === 0xe0 ? r.key[KEY_VLAN_TCI] >> 5 : 0
        return m[(act + PRIO) >> 2] !== matched ? 'Changing VLAN prio is not supported' : undefined
      }
      case TCA_VLAN_ACT_POP_ETH:
        r.ethPop = true
        return undefined
      default:
        r.ethPush = true
        return undefined
    }
  },

  dump(c, act, b) {
    const { m, u8 } = c.a
    const action = m[(act + V_ACTION) >> 2]
    b.d.setInt32(dumpParms(c, act, b, TCA_VLAN_PARMS, 4), action, true)
    if (isTag(action)) {
      b.attrU16(TCA_VLAN_PUSH_VLAN_ID, m[(act + VID) >> 2])
      b.attrBe16(TCA_VLAN_PUSH_VLAN_PROTOCOL, m[(act + TPID) >> 2])
      if (action === TCA_VLAN_ACT_PUSH || m[(act + HAS_PRIO) >> 2])
        b.attrU8(TCA_VLAN_PUSH_VLAN_PRIORITY, m[(act + PRIO) >> 2])
    } else if (action === TCA_VLAN_ACT_PUSH_ETH) {
      b.attrSlice(TCA_VLAN_PUSH_ETH_DST, u8, act + MACS, 6)
      b.attrSlice(TCA_VLAN_PUSH_ETH_SRC, u8, act + MACS + 6, 6)
    }
    dumpTm(c, act, b, TCA_VLAN_TM)
  },
}
