// csum: computes checksums anew: of the IPv4 header, ICMP, IGMP, TCP, UDP, UDP-Lite, SCTP (m_csum.c, act_csum.c).

import { ACT_CONTROL, ACT_PARAMS, TC_ACT_OK, TC_ACT_SHOT } from '../memory/layout/action.ts'
import { OP_CSUM } from '../memory/layout/program.ts'
import { FLOW_ACTION_CSUM } from '../wire/flow_action_id.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_CSUM_PARMS,
  TCA_CSUM_TM,
  TCA_CSUM_UPDATE_FLAG_ICMP,
  TCA_CSUM_UPDATE_FLAG_IGMP,
  TCA_CSUM_UPDATE_FLAG_IPV4HDR,
  TCA_CSUM_UPDATE_FLAG_SCTP,
  TCA_CSUM_UPDATE_FLAG_TCP,
  TCA_CSUM_UPDATE_FLAG_UDP,
  TCA_CSUM_UPDATE_FLAG_UDPLITE,
  TCA_ID_CSUM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndexOr, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: TCA_CSUM_UPDATE_FLAG_*. */
const FLAGS = ACT_PARAMS

/** Words, in the order in which tc tries them, and what tc calls the flag. */
const TARGETS: readonly (readonly [words: readonly string[], flag: number, name: string])[] = [
  [['iph', 'ip4h', 'ipv4h'], TCA_CSUM_UPDATE_FLAG_IPV4HDR, 'iph'],
  [['icmp'], TCA_CSUM_UPDATE_FLAG_ICMP, 'icmp'],
  [['igmp'], TCA_CSUM_UPDATE_FLAG_IGMP, 'igmp'],
  [['tcp'], TCA_CSUM_UPDATE_FLAG_TCP, 'tcp'],
  [['udp'], TCA_CSUM_UPDATE_FLAG_UDP, 'udp'],
  [['udplite'], TCA_CSUM_UPDATE_FLAG_UDPLITE, 'udplite'],
  [['sctp'], TCA_CSUM_UPDATE_FLAG_SCTP, 'sctp'],
]
const SWEETS = ['and', 'or', '+']

const attrs = new Int32Array(TCA_CSUM_TM + 2)
const POLICY = policy(TCA_CSUM_TM + 1, { [TCA_CSUM_PARMS]: TC_GEN_LEN + 4, [TCA_CSUM_TM]: 0 })

export const csum: ActionKind = {
  name: 'csum',
  id: TCA_ID_CSUM,
  parms: TCA_CSUM_PARMS,
  parmsLen: TC_GEN_LEN + 4,

  parse(args, b) {
    let flags = 0
    while (args.matches('csum')) {
      args.next()
      for (; args.more; args.skip()) {
        const target = TARGETS.find(([words]) => words.some((w) => args.matches(w)))
        if (target) flags |= target[1]
        else if (!SWEETS.some((w) => args.matches(w))) break
      }
    }
    if (flags === 0) throw args.fail('Illegal csum construct, empty <UPDATE> list')
    const control = controlOr(args, TC_ACT_OK)
    const index = readIndexOr(args, (word) => args.fail(`Illegal "index" (${word}) <csum>`))
    b.d.setUint32(putParms(b, TCA_CSUM_PARMS, index, control, 4), flags, true)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'csum')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_CSUM_PARMS]
    if (!parms) return
    const flags = d.getUint32(parms + TC_GEN_LEN, true)
    const names = TARGETS.filter(([, flag]) => flags & flag).map(([, , name]) => name)
    out.str('csum', '(%s) ', names.join(', ') || '?empty')
    printControl(out, 'action ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_CSUM_TM], '\t')
  },

  init(c, act, d, o, end) {
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_CSUM_PARMS]
    checkControl(genAction(d, parms))
    c.a.m[(act + FLAGS) >> 2] = d.getUint32(parms + TC_GEN_LEN, true)
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    // With drop it drops at once, and every packet is a drop of its counter (action_stats.ts).
    if (m[(act + ACT_CONTROL) >> 2] === TC_ACT_SHOT) return
    c.emit(OP_CSUM, m[(act + FLAGS) >> 2], c.counter(act))
  },

  offload(_m, _act, ids) {
    ids.push(FLOW_ACTION_CSUM)
  },

  driverRefuses(m, act, r) {
    if (r.pedits === 0) return 'Checksum update is supported only behind pedit'
    const known = TCA_CSUM_UPDATE_FLAG_IPV4HDR | TCA_CSUM_UPDATE_FLAG_TCP | TCA_CSUM_UPDATE_FLAG_UDP
    return (m[(act + FLAGS) >> 2] & ~known) !== 0
      ? 'Checksum update is supported for IPv4, TCP and UDP only'
      : undefined
  },

  dump(c, act, b) {
    const o = dumpParms(c, act, b, TCA_CSUM_PARMS, 4)
    b.d.setUint32(o, c.a.m[(act + FLAGS) >> 2], true)
    dumpTm(c, act, b, TCA_CSUM_TM)
  },
}
