// tunnel_key: gives the packet the metadata of a tunnel, for an `external` tunnel device to send it with, or takes it
// away (m_tunnel_key.c, act_tunnel_key.c). Options of geneve, vxlan and erspan are in tunnel_opts.ts.
//
// The metadata is a tun_info (memory/layout/action.ts), made once, referenced by the instance and never changed.

import {
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_KIND,
  ACT_PARAMS,
  TC_ACT_PIPE,
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_IPV6,
  TUN_MODE,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUN_REFCNT,
  TUN_SIZE,
  TUN_SRC,
  TUN_TOS,
  TUN_TP_DST,
  TUN_TTL,
  TUN_TX,
  TUNNEL_CSUM,
  TUNNEL_DONT_FRAGMENT,
  TUNNEL_KEY,
} from '../memory/layout/action.ts'
import { OP_TUNNEL_SET, OP_TUNNEL_UNSET } from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_TUN_INFO } from '../memory/pool.ts'
import * as Refcount from '../sync/refcount.ts'
import type { Args } from '../tc/args.ts'
import { FLOW_ACTION_TUNNEL_DECAP, FLOW_ACTION_TUNNEL_ENCAP } from '../wire/flow_action_id.ts'
import type { Builder } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import { AF_INET, AF_UNSPEC } from '../wire/rtm_route.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_ID_TUNNEL_KEY,
  TCA_TUNNEL_KEY_ACT_RELEASE,
  TCA_TUNNEL_KEY_ACT_SET,
  TCA_TUNNEL_KEY_ENC_DST_PORT,
  TCA_TUNNEL_KEY_ENC_IPV4_DST,
  TCA_TUNNEL_KEY_ENC_IPV4_SRC,
  TCA_TUNNEL_KEY_ENC_IPV6_DST,
  TCA_TUNNEL_KEY_ENC_IPV6_SRC,
  TCA_TUNNEL_KEY_ENC_KEY_ID,
  TCA_TUNNEL_KEY_ENC_OPTS,
  TCA_TUNNEL_KEY_ENC_TOS,
  TCA_TUNNEL_KEY_ENC_TTL,
  TCA_TUNNEL_KEY_NO_CSUM,
  TCA_TUNNEL_KEY_NO_FRAG,
  TCA_TUNNEL_KEY_PARMS,
  TCA_TUNNEL_KEY_TM,
} from '../wire/tca_action.ts'
import type { ActionKind, CompileContext } from './action.ts'
import { checkControl, dropControl, printControl, readControlAndIndex, setControl } from './control.ts'
import { isRedirect, mirred, tunnelDeviceOf } from './mirred.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'
import {
  dumpTunnelOpts,
  parseErspan,
  parseGeneve,
  parseVxlan,
  printTunnelOpts,
  readTunnelOpts,
  tunnelOpts,
} from './tunnel_opts.ts'

/** Params: set or release; the tun_info. */
const T_ACTION = ACT_PARAMS
const TUN = ACT_PARAMS + 4

const attrs = new Int32Array(TCA_TUNNEL_KEY_NO_FRAG + 1)
const POLICY = policy(TCA_TUNNEL_KEY_NO_FRAG, {
  [TCA_TUNNEL_KEY_TM]: 0,
  [TCA_TUNNEL_KEY_PARMS]: TC_GEN_LEN + 4,
  [TCA_TUNNEL_KEY_ENC_IPV4_SRC]: 4,
  [TCA_TUNNEL_KEY_ENC_IPV4_DST]: 4,
  [TCA_TUNNEL_KEY_ENC_IPV6_SRC]: 16,
  [TCA_TUNNEL_KEY_ENC_IPV6_DST]: 16,
  [TCA_TUNNEL_KEY_ENC_KEY_ID]: 4,
  [TCA_TUNNEL_KEY_ENC_DST_PORT]: 2,
  [TCA_TUNNEL_KEY_NO_CSUM]: 1,
  [TCA_TUNNEL_KEY_ENC_OPTS]: 0,
  [TCA_TUNNEL_KEY_ENC_TOS]: 1,
  [TCA_TUNNEL_KEY_ENC_TTL]: 1,
  [TCA_TUNNEL_KEY_NO_FRAG]: 0,
})
const UNPARSABLE = 'Failed to parse nested tunnel key attributes'

// ---- words

function parseIp(args: Args, b: Builder, type4: number, type6: number): void {
  args.next()
  args.needAddress(AF_UNSPEC)
  const { inet } = args
  b.attrSlice(inet.family === AF_INET ? type4 : type6, inet.data, 0, inet.bytelen)
}

function parseTosTtl(args: Args, b: Builder, type: number): boolean {
  args.next()
  let v = args.u8(10)
  if (v < 0) v = args.u8(16)
  if (v >= 0) b.attrU8(type, v)
  return v >= 0
}

interface Read {
  action: number
  src: boolean
  dst: boolean
  csum: boolean
  frag: boolean
}

function illegal(args: Args, what: string, ok: boolean): void {
  if (!ok) throw args.fail(`Illegal "${what}"`)
}

// One word and its value; false when it is none of tunnel_key's.
function parseWord(args: Args, b: Builder, r: Read): boolean {
  if (args.matches('unset') || args.matches('set')) {
    if (r.action) throw args.fail(`unexpected "${args.word}" - action already specified`)
    r.action = args.matches('unset') ? TCA_TUNNEL_KEY_ACT_RELEASE : TCA_TUNNEL_KEY_ACT_SET
  } else if (args.matches('src_ip')) {
    parseIp(args, b, TCA_TUNNEL_KEY_ENC_IPV4_SRC, TCA_TUNNEL_KEY_ENC_IPV6_SRC)
    r.src = true
  } else if (args.matches('dst_ip')) {
    parseIp(args, b, TCA_TUNNEL_KEY_ENC_IPV4_DST, TCA_TUNNEL_KEY_ENC_IPV6_DST)
    r.dst = true
  } else if (args.matches('id')) {
    args.next()
    const id = args.u32(10)
    illegal(args, 'id', id >= 0)
    b.attrBe32(TCA_TUNNEL_KEY_ENC_KEY_ID, id)
  } else if (args.matches('dst_port')) {
    args.next()
    const port = args.u16(10)
    illegal(args, 'dst port', port >= 0)
    b.attrBe16(TCA_TUNNEL_KEY_ENC_DST_PORT, port)
  } else if (args.matches('geneve_opts')) illegal(args, 'geneve_opts', parseGeneve(args.next(), args, b))
  else if (args.matches('vxlan_opts')) illegal(args, 'vxlan_opts', parseVxlan(args.next(), args, b))
  else if (args.matches('erspan_opts')) illegal(args, 'erspan_opts', parseErspan(args.next(), args, b))
  else if (args.matches('tos')) illegal(args, 'tos', parseTosTtl(args, b, TCA_TUNNEL_KEY_ENC_TOS))
  else if (args.matches('ttl')) illegal(args, 'ttl', parseTosTtl(args, b, TCA_TUNNEL_KEY_ENC_TTL))
  else if (args.matches('csum')) r.csum = true
  else if (args.matches('nocsum')) r.csum = false
  else if (args.is('nofrag')) r.frag = false
  else return false
  args.skip()
  return true
}

// ---- kernel

/** Makes the tun_info that the attributes describe, with one reference. */
function makeTun(a: Parameters<typeof alloc>[0], d: DataView): number {
  const [src4, dst4] = [attrs[TCA_TUNNEL_KEY_ENC_IPV4_SRC], attrs[TCA_TUNNEL_KEY_ENC_IPV4_DST]]
  const [src6, dst6] = [attrs[TCA_TUNNEL_KEY_ENC_IPV6_SRC], attrs[TCA_TUNNEL_KEY_ENC_IPV6_DST]]
  tunnelOpts.len = 0
  if (attrs[TCA_TUNNEL_KEY_ENC_OPTS]) readTunnelOpts(d, attrs[TCA_TUNNEL_KEY_ENC_OPTS])
  const v4 = src4 !== 0 && dst4 !== 0
  if (!v4 && !(src6 && dst6)) throw new NetlinkError(EINVAL, 'Missing either ipv4 or ipv6 src and dst')
  const tun = alloc(a, TUN_SIZE + tunnelOpts.len, TAG_TUN_INFO)
  const { m, u8 } = a
  const id = attrs[TCA_TUNNEL_KEY_ENC_KEY_ID]
  const noCsum = attrs[TCA_TUNNEL_KEY_NO_CSUM]
  let flags = TUNNEL_CSUM
  if (noCsum && d.getUint8(noCsum)) flags = 0
  if (id) flags |= TUNNEL_KEY
  if (attrs[TCA_TUNNEL_KEY_NO_FRAG]) flags |= TUNNEL_DONT_FRAGMENT
  if (tunnelOpts.len) flags |= tunnelOpts.flag
  m[(tun + TUN_MODE) >> 2] = v4 ? TUN_TX : TUN_TX | TUN_IPV6
  m[(tun + TUN_FLAGS) >> 2] = flags
  m[(tun + TUN_ID) >> 2] = id ? d.getUint32(id) : 0
  const n = v4 ? 4 : 16
  for (let i = 0; i < n; i++) {
    u8[tun + TUN_SRC + i] = d.getUint8((v4 ? src4 : src6) + i)
    u8[tun + TUN_DST + i] = d.getUint8((v4 ? dst4 : dst6) + i)
  }
  const port = attrs[TCA_TUNNEL_KEY_ENC_DST_PORT]
  if (port) {
    u8[tun + TUN_TP_DST] = d.getUint8(port)
    u8[tun + TUN_TP_DST + 1] = d.getUint8(port + 1)
  }
  u8[tun + TUN_TOS] = attrs[TCA_TUNNEL_KEY_ENC_TOS] ? d.getUint8(attrs[TCA_TUNNEL_KEY_ENC_TOS]) : 0
  u8[tun + TUN_TTL] = attrs[TCA_TUNNEL_KEY_ENC_TTL] ? d.getUint8(attrs[TCA_TUNNEL_KEY_ENC_TTL]) : 0
  u8[tun + TUN_OPTS_LEN] = tunnelOpts.len
  u8[tun + TUN_OPTS_KIND] = tunnelOpts.len ? tunnelOpts.kind : 0
  for (let i = 0; i < tunnelOpts.len; i++) u8[tun + TUN_OPTS + i] = tunnelOpts.bytes[i]
  Refcount.init(m, (tun + TUN_REFCNT) >> 2)
  return tun
}

function dropTun(a: Parameters<typeof alloc>[0], tun: number): void {
  const size = TUN_SIZE + a.u8[tun + TUN_OPTS_LEN]
  if (tun !== 0 && Refcount.put(a.m, (tun + TUN_REFCNT) >> 2)) freeRcu(a, tun, size, TAG_TUN_INFO)
}

/** Words of a tun_info with its options. */
const tunWords = (a: Parameters<typeof alloc>[0], tun: number): number => (TUN_SIZE + a.u8[tun + TUN_OPTS_LEN] + 3) >> 2

/** Where the tun_info stands among the words that are kept, behind control and action. */
const KEPT_TUN = 2

/** The tun_info that an instance sets, 0 when it takes metadata away. */
export const tunOf = (m: Int32Array, act: number): number => m[(act + TUN) >> 2]

// The next action uses the metadata up: it redirects into a tunnel, by an entry that knows them.
function nextUsesIt(c: CompileContext, control: number): boolean {
  const { m } = c.a
  const { next } = c
  return (
    c.path === 'fast' &&
    control === TC_ACT_PIPE &&
    next !== 0 &&
    m[(next + ACT_KIND) >> 2] === mirred.id &&
    isRedirect(m, next) &&
    tunnelDeviceOf(m, next) !== 0
  )
}

export const tunnelKey: ActionKind = {
  name: 'tunnel_key',
  id: TCA_ID_TUNNEL_KEY,
  parms: TCA_TUNNEL_KEY_PARMS,
  parmsLen: TC_GEN_LEN + 4,
  missing: 'Tunnel requires attributes to be passed',
  missingParms: 'Missing tunnel key parameters',

  parse(args, b) {
    args.next()
    const r: Read = { action: 0, src: false, dst: false, csum: true, frag: true }
    while (args.more && parseWord(args, b, r));
    b.attrU8(TCA_TUNNEL_KEY_NO_CSUM, r.csum ? 0 : 1)
    if (!r.frag) b.attrFlag(TCA_TUNNEL_KEY_NO_FRAG)
    const { control, index } = readControlAndIndex(args, TC_ACT_PIPE, 'tunnel_key: Illegal "index"')
    if (r.action === TCA_TUNNEL_KEY_ACT_SET && !(r.src && r.dst)) throw args.fail('set needs tunnel_key parameters')
    b.d.setInt32(putParms(b, TCA_TUNNEL_KEY_PARMS, index, control, 4), r.action, true)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'tunnel_key')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_TUNNEL_KEY_PARMS]
    if (!parms) return
    const at = attrs.slice()
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    if (action === TCA_TUNNEL_KEY_ACT_RELEASE) out.str('mode', ' %s', 'unset')
    else if (action === TCA_TUNNEL_KEY_ACT_SET) {
      out.str('mode', ' %s', 'set')
      const line = (type: number, print: (o: number) => void): void => {
        if (!at[type]) return
        out.nl()
        print(at[type])
      }
      line(TCA_TUNNEL_KEY_ENC_IPV4_SRC, (p) => out.str('src_ip', '\tsrc_ip %s', out.inet(d, p, 4)))
      line(TCA_TUNNEL_KEY_ENC_IPV4_DST, (p) => out.str('dst_ip', '\tdst_ip %s', out.inet(d, p, 4)))
      line(TCA_TUNNEL_KEY_ENC_IPV6_SRC, (p) => out.str('src_ip', '\tsrc_ip %s', out.inet(d, p, 16)))
      line(TCA_TUNNEL_KEY_ENC_IPV6_DST, (p) => out.str('dst_ip', '\tdst_ip %s', out.inet(d, p, 16)))
      line(TCA_TUNNEL_KEY_ENC_KEY_ID, (p) => out.num('key_id', '\tkey_id %u', d.getUint32(p)))
      line(TCA_TUNNEL_KEY_ENC_DST_PORT, (p) => out.num('dst_port', '\tdst_port %u', d.getUint16(p)))
      if (at[TCA_TUNNEL_KEY_ENC_OPTS]) printTunnelOpts(d, at[TCA_TUNNEL_KEY_ENC_OPTS], out)
      line(TCA_TUNNEL_KEY_NO_CSUM, (p) => out.str('flag', '\t%s', d.getUint8(p) ? 'nocsum' : 'csum'))
      line(TCA_TUNNEL_KEY_NO_FRAG, () => out.bool('nofrag', '\tnofrag', true))
      const [tos, ttl] = [at[TCA_TUNNEL_KEY_ENC_TOS], at[TCA_TUNNEL_KEY_ENC_TTL]]
      if (tos && d.getUint8(tos)) line(TCA_TUNNEL_KEY_ENC_TOS, (p) => out.num('tos', '\ttos 0x%x', d.getUint8(p)))
      if (ttl && d.getUint8(ttl)) line(TCA_TUNNEL_KEY_ENC_TTL, (p) => out.num('ttl', '\tttl %u', d.getUint8(p)))
    }
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, at[TCA_TUNNEL_KEY_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY, UNPARSABLE)
    const parms = attrs[TCA_TUNNEL_KEY_PARMS]
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    const control = genAction(d, parms)
    if (action !== TCA_TUNNEL_KEY_ACT_RELEASE && action !== TCA_TUNNEL_KEY_ACT_SET)
      throw new NetlinkError(EINVAL, 'Unknown tunnel key action', parms)
    checkControl(control)
    const tun = action === TCA_TUNNEL_KEY_ACT_SET ? makeTun(c.a, d) : 0
    m[(act + T_ACTION) >> 2] = action
    m[(act + TUN) >> 2] = tun
    try {
      setControl(c, act, control)
    } catch (e) {
      if (tun !== 0) dropTun(c.a, tun)
      throw e
    }
  },

  keep(c, act) {
    const { m } = c.a
    if (m[(act + ACT_CHAIN) >> 2] !== 0) return undefined
    const tun = tunOf(m, act)
    const words = tun === 0 ? 0 : tunWords(c.a, tun)
    const kept = new Int32Array(KEPT_TUN + words)
    kept[0] = m[(act + ACT_CONTROL) >> 2]
    kept[1] = m[(act + T_ACTION) >> 2]
    kept.set(m.subarray(tun >> 2, (tun >> 2) + words), KEPT_TUN)
    return kept
  },

  again(c, act, kept) {
    const { m } = c.a
    const words = kept.length - KEPT_TUN
    let tun = 0
    if (words !== 0) {
      tun = alloc(c.a, words * 4, TAG_TUN_INFO)
      for (let i = 0; i < words; i++) m[(tun >> 2) + i] = kept[KEPT_TUN + i]
      Refcount.init(m, (tun + TUN_REFCNT) >> 2)
    }
    m[(act + ACT_CONTROL) >> 2] = kept[0]
    m[(act + T_ACTION) >> 2] = kept[1]
    m[(act + TUN) >> 2] = tun
    return true
  },

  cleanup(c, act) {
    dropControl(c, act)
    const tun = tunOf(c.a.m, act)
    if (tun !== 0) dropTun(c.a, tun)
  },

  compile(c, act) {
    const tun = tunOf(c.a.m, act)
    c.tun = tun
    if (tun === 0) c.emit(OP_TUNNEL_UNSET)
    else if (!nextUsesIt(c, c.a.m[(act + ACT_CONTROL) >> 2])) c.emit(OP_TUNNEL_SET, tun)
  },

  offload(m, act, ids) {
    ids.push(tunOf(m, act) === 0 ? FLOW_ACTION_TUNNEL_DECAP : FLOW_ACTION_TUNNEL_ENCAP)
  },

  driverRefuses(m, act, r) {
    if (tunOf(m, act) === 0) r.decap = true
    else r.tun = tunOf(m, act)
    return undefined
  },

  dump(c, act, b) {
    const { m, u8, d } = c.a
    const tun = tunOf(m, act)
    b.d.setInt32(dumpParms(c, act, b, TCA_TUNNEL_KEY_PARMS, 4), m[(act + T_ACTION) >> 2], true)
    if (tun !== 0) {
      const flags = m[(tun + TUN_FLAGS) >> 2]
      const v6 = (m[(tun + TUN_MODE) >> 2] & TUN_IPV6) !== 0
      if (flags & TUNNEL_KEY) b.attrBe32(TCA_TUNNEL_KEY_ENC_KEY_ID, m[(tun + TUN_ID) >> 2])
      b.attrSlice(v6 ? TCA_TUNNEL_KEY_ENC_IPV6_SRC : TCA_TUNNEL_KEY_ENC_IPV4_SRC, u8, tun + TUN_SRC, v6 ? 16 : 4)
      b.attrSlice(v6 ? TCA_TUNNEL_KEY_ENC_IPV6_DST : TCA_TUNNEL_KEY_ENC_IPV4_DST, u8, tun + TUN_DST, v6 ? 16 : 4)
      const port = d.getUint16(tun + TUN_TP_DST)
      if (port) b.attrBe16(TCA_TUNNEL_KEY_ENC_DST_PORT, port)
      b.attrU8(TCA_TUNNEL_KEY_NO_CSUM, flags & TUNNEL_CSUM ? 0 : 1)
      if (flags & TUNNEL_DONT_FRAGMENT) b.attrFlag(TCA_TUNNEL_KEY_NO_FRAG)
      if (u8[tun + TUN_OPTS_LEN]) dumpTunnelOpts(c.a, tun, b)
      if (u8[tun + TUN_TOS]) b.attrU8(TCA_TUNNEL_KEY_ENC_TOS, u8[tun + TUN_TOS])
      if (u8[tun + TUN_TTL]) b.attrU8(TCA_TUNNEL_KEY_ENC_TTL, u8[tun + TUN_TTL])
    }
    dumpTm(c, act, b, TCA_TUNNEL_KEY_TM)
  },
}
