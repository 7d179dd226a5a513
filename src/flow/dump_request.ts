// From what a dump says of a filter or an action to a request that makes the same: a kernel does not take all that it tells.
//
//   filter   says that it is not in hardware; a request must not
//   flower   does not say which tag's ethertype a key is about, nor all of PPPoE: so key and mask go along word for word, in
//            TCA_EXACT_KEY, an attribute that no kernel has, no client may send, and only a restoring switch reads
//   police   leaves out its rate tables, which nobody uses any more and which must be there
//   geneve   options of tunnel_key stand in one nest, where a request has a nest for each
//   mpls     says a protocol where none may be given
//   actions  statistics and counts of hardware are not a request's: they go
//
// Pure: messages in, messages out.

import {
  align4,
  attrLen,
  attrString,
  Builder,
  msgFlags,
  msgLen,
  msgType,
  NLA_HDRLEN,
  NLA_TYPE_MASK,
  NLMSG_HDRLEN,
  viewOf,
} from '../wire/netlink.ts'
import * as Tca from '../wire/tca_action.ts'
import { TCA_FLOWER_ACT, TCA_FLOWER_FLAGS, TCA_FLOWER_IN_HW_COUNT } from '../wire/tca_flower.ts'
import { TCA_FW_ACT } from '../wire/tca_fw.ts'
import { TCA_MATCHALL_ACT, TCA_MATCHALL_FLAGS, TCA_MATCHALL_PCNT } from '../wire/tca_matchall.ts'
import { TCA_U32_ACT, TCA_U32_FLAGS, TCA_U32_PCNT } from '../wire/tca_u32.ts'
import * as Tcm from '../wire/tcm.ts'

/** Beside TCA_OPTIONS: range of source ports, of destination ports, then (offset, key word, mask word)*, u32 each. */
export const TCA_EXACT_KEY = 0x3000

const b = new Builder(65536)

type Each = (type: number, payload: number) => void

/** Goes through the attributes in [o, end). */
function each(d: DataView, o: number, end: number, f: Each): void {
  for (let n = 0; end - o >= NLA_HDRLEN; o += align4(n)) {
    n = d.getUint16(o, true)
    if (n < NLA_HDRLEN || n > end - o) return
    f(d.getUint16(o + 2, true) & NLA_TYPE_MASK, o + NLA_HDRLEN)
  }
}

const nested = (d: DataView, payload: number, f: Each): void => each(d, payload, payload + attrLen(d, payload), f)

/** The attribute once more, as it is. */
function copy(d: DataView, message: Uint8Array, type: number, payload: number): void {
  b.attr(type, message.subarray(payload, payload + attrLen(d, payload)))
}

/** Of each kind of filter: the attribute of its flags, that of its actions, and one that a request does not have. */
const KINDS: Readonly<Record<string, readonly [flags: number, act: number, count: number]>> = {
  flower: [TCA_FLOWER_FLAGS, TCA_FLOWER_ACT, TCA_FLOWER_IN_HW_COUNT],
  matchall: [TCA_MATCHALL_FLAGS, TCA_MATCHALL_ACT, TCA_MATCHALL_PCNT],
  u32: [TCA_U32_FLAGS, TCA_U32_ACT, TCA_U32_PCNT],
  fw: [0, TCA_FW_ACT, 0],
}

/** RTM_NEWTFILTER of a dump as a request. `exact`: for TCA_EXACT_KEY, if there is one. */
export function filterRequest(message: Uint8Array, exact?: Uint8Array): Uint8Array {
  const d = viewOf(message)
  let kind = ''
  b.begin(msgType(d), msgFlags(d))
  Tcm.tcmsg(b, Tcm.tcmIfindex(d), Tcm.tcmHandle(d), Tcm.tcmParent(d), Tcm.tcmInfo(d))
  each(d, Tcm.TCMSG_ATTRS, msgLen(d), (type, payload) => {
    if (type === Tcm.TCA_KIND) kind = attrString(d, payload)
    const known = KINDS[kind]
    if (type !== Tcm.TCA_OPTIONS || known === undefined) {
      copy(d, message, type, payload)
      return
    }
    const [flags, act, count] = known
    const options = b.nest(Tcm.TCA_OPTIONS)
    nested(d, payload, (option, at) => {
      if (option === act) {
        const list = b.nest(act)
        nested(d, at, (order, action) => actionRequest(d, message, order, action))
        b.nestEnd(list)
      } else if (option === flags) b.attrU32(flags, d.getUint32(at, true) & ~Tcm.TCA_CLS_FLAGS_NOT_IN_HW)
      else if (option !== count) copy(d, message, option, at)
    })
    b.nestEnd(options)
  })
  if (exact !== undefined) b.attr(TCA_EXACT_KEY, exact)
  return b.end()
}

/** RTM_NEWACTION of a dump as a request. */
export function actionsRequest(message: Uint8Array): Uint8Array {
  const d = viewOf(message)
  b.begin(msgType(d), msgFlags(d))
  Tca.tcamsg(b)
  each(d, Tca.TCAMSG_ATTRS, msgLen(d), (type, payload) => {
    if (type !== Tca.TCA_ACT_TAB) return
    const tab = b.nest(type)
    nested(d, payload, (order, action) => actionRequest(d, message, order, action))
    b.nestEnd(tab)
  })
  return b.end()
}

const TOLD = new Set([Tca.TCA_ACT_STATS, Tca.TCA_ACT_IN_HW_COUNT])

function actionRequest(d: DataView, message: Uint8Array, order: number, payload: number): void {
  let kind = ''
  const action = b.nest(order)
  nested(d, payload, (type, at) => {
    if (type === Tca.TCA_ACT_KIND) kind = attrString(d, at)
    if (TOLD.has(type)) return
    if (type !== Tca.TCA_ACT_OPTIONS) {
      copy(d, message, type, at)
      return
    }
    const options = b.nest(type)
    if (kind === 'mpls') mplsOptions(d, message, at)
    else if (kind === 'police') policeOptions(d, message, at)
    else if (kind === 'tunnel_key') tunnelOptions(d, message, at)
    else nested(d, at, (option, o) => copy(d, message, option, o))
    b.nestEnd(options)
  })
  b.nestEnd(action)
}

/** A protocol goes with pop and push only. */
function mplsOptions(d: DataView, message: Uint8Array, payload: number): void {
  let action = 0
  nested(d, payload, (type, o) => {
    if (type === Tca.TCA_MPLS_PARMS) action = d.getInt32(o + Tca.TC_GEN_LEN, true)
    const alone = action === Tca.TCA_MPLS_ACT_DEC_TTL || action === Tca.TCA_MPLS_ACT_MODIFY
    if (type !== Tca.TCA_MPLS_PROTO || !alone) copy(d, message, type, o)
  })
}

/** Several Geneve options stand in one nest in a dump, each in a nest of its own in a request. */
function tunnelOptions(d: DataView, message: Uint8Array, payload: number): void {
  nested(d, payload, (type, o) => {
    if (type !== Tca.TCA_TUNNEL_KEY_ENC_OPTS) {
      copy(d, message, type, o)
      return
    }
    const opts = b.nest(type)
    nested(d, o, (kind, at) => {
      if (kind !== Tca.TCA_TUNNEL_KEY_ENC_OPTS_GENEVE) {
        copy(d, message, kind, at)
        return
      }
      let nest = 0
      nested(d, at, (field, value) => {
        if (field === Tca.TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS) {
          if (nest !== 0) b.nestEnd(nest)
          nest = b.nest(kind)
        }
        copy(d, message, field, value)
      })
      if (nest !== 0) b.nestEnd(nest)
    })
    b.nestEnd(opts)
  })
}

// struct tc_police: the two rate specifications, in each the logarithm of a cell and the rate.
const POLICE_RATE = 20
const POLICE_PEAKRATE = 32
const SPEC_RATE = 8
const RTAB_LEN = 1024

function policeOptions(d: DataView, message: Uint8Array, payload: number): void {
  nested(d, payload, (type, o) => {
    if (type !== Tca.TCA_POLICE_TBF) {
      copy(d, message, type, o)
      return
    }
    const tbf = b.attrRoom(type, attrLen(d, o))
    b.u8s.set(message.subarray(o, o + attrLen(d, o)), tbf)
    for (const [spec, table] of [
      [POLICE_RATE, Tca.TCA_POLICE_RATE],
      [POLICE_PEAKRATE, Tca.TCA_POLICE_PEAKRATE],
    ]) {
      if (d.getUint32(o + spec + SPEC_RATE, true) === 0) continue
      b.u8s[tbf + spec] = 1
      b.attr(table, new Uint8Array(RTAB_LEN))
    }
  })
}

/** Payload of TCA_EXACT_KEY in a filter's message, 0 without. */
export function exactKeyOf(message: Uint8Array): number {
  const d = viewOf(message)
  let found = 0
  each(d, NLMSG_HDRLEN + Tcm.TCMSG_LEN, msgLen(d), (type, payload) => {
    if (type === TCA_EXACT_KEY) found = payload
  })
  return found
}
