// mirred: sends the packet (redirect), or a copy of it (mirror), out of a device or into it (m_mirred.c, act_mirred.c).
//
// A packet that tunnel_key gave metadata in the same list and that goes out of an `external` tunnel device is a tunnel
// destination of the flow: the fast program names its encap entry, the slow one the device.

import type { Arena } from '../memory/arena.ts'
import {
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_PARAMS,
  TC_ACT_PIPE,
  TC_ACT_STOLEN,
  TUN_FLAGS,
  TUN_TP_SRC,
  TUNNEL_CSUM,
  TUNNEL_SEQ,
} from '../memory/layout/action.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_BAREUDP,
  NETDEV_KIND_GENEVE,
  NETDEV_KIND_GRETAP,
  NETDEV_KIND_IP6GRETAP,
  NETDEV_KIND_PORT,
  NETDEV_KIND_VXLAN,
} from '../memory/layout/netdev.ts'
import { OP_ENCAP, OP_REDIRECT, REDIRECT_INGRESS, REDIRECT_MIRROR } from '../memory/layout/program.ts'
import { netdevByIndex } from '../net/netdev.ts'
import type { Args } from '../tc/args.ts'
import {
  FLOW_ACTION_MIRRED,
  FLOW_ACTION_MIRRED_INGRESS,
  FLOW_ACTION_REDIRECT,
  FLOW_ACTION_REDIRECT_INGRESS,
} from '../wire/flow_action_id.ts'
import { EINVAL, ENODEV, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_EGRESS_MIRROR,
  TCA_EGRESS_REDIR,
  TCA_ID_MIRRED,
  TCA_INGRESS_MIRROR,
  TCA_INGRESS_REDIR,
  TCA_MIRRED_PAD,
  TCA_MIRRED_PARMS,
  TCA_MIRRED_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndex, setControl } from './control.ts'
import { type OffloadRule, OUTPUTS_MAX } from './offload.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: TCA_EGRESS_REDIR…, the device's address and ifindex. */
const EACTION = ACT_PARAMS
const DEV = ACT_PARAMS + 4
const IFINDEX = ACT_PARAMS + 8

const attrs = new Int32Array(TCA_MIRRED_PAD + 2)
const POLICY = policy(TCA_MIRRED_PAD + 1, { [TCA_MIRRED_TM]: 0, [TCA_MIRRED_PARMS]: TC_GEN_LEN + 8 })

interface Read {
  eaction: number
  control: number
  dev: string
  index: number
}

// parse_direction: direction, action and device, in tc's peculiar loop. False: tc gives up without a word of its own.
function parseWords(args: Args): Read | string {
  const r: Read = { eaction: 0, control: 0, dev: '', index: 0 }
  let ingress = false
  let egress = false
  let mirror = false
  let redirect = false
  let ok = false
  let indexed = false
  while (args.more) {
    if (args.matches('action')) {
      args.next()
      break
    }
    if (!egress && args.matches('egress')) {
      egress = true
      if (ingress) return "Can't have both egress and ingress"
      ok = true
      args.next()
      continue
    }
    if (!ingress && args.matches('ingress')) {
      ingress = true
      if (egress) return "Can't have both ingress and egress"
      ok = true
      args.next()
      continue
    }
    if (args.matches('index')) {
      args.next()
      r.index = args.u32(10)
      if (r.index < 0) return 'Illegal "index"'
      indexed = true
      if (!ok) {
        args.skip()
        break
      }
    } else if (!ok) return `was expecting egress or ingress (${args.word})`
    else if (!mirror && args.matches('mirror')) {
      mirror = true
      if (redirect) return "Can't have both mirror and redir"
      r.eaction = egress ? TCA_EGRESS_MIRROR : TCA_INGRESS_MIRROR
      r.control = TC_ACT_PIPE
    } else if (!redirect && args.matches('redirect')) {
      redirect = true
      if (mirror) return "Can't have both mirror and redir"
      r.eaction = egress ? TCA_EGRESS_REDIR : TCA_INGRESS_REDIR
      r.control = TC_ACT_STOLEN
    } else if ((redirect || mirror) && args.matches('dev')) {
      r.dev = args.next().slice(0, 15)
      args.skip()
      break
    }
    args.next()
  }
  return ok || indexed ? r : ''
}

const TEXT: Readonly<Record<number, readonly [text: string, action: string, direction: string]>> = {
  [TCA_EGRESS_REDIR]: ['Egress Redirect', 'redirect', 'egress'],
  [TCA_INGRESS_REDIR]: ['Ingress Redirect', 'redirect', 'ingress'],
  [TCA_EGRESS_MIRROR]: ['Egress Mirror', 'mirror', 'egress'],
  [TCA_INGRESS_MIRROR]: ['Ingress Mirror', 'mirror', 'ingress'],
}
const UNKNOWN = ['unknown', 'unknown', 'unknown'] as const

const isMirror = (eaction: number): boolean => eaction === TCA_EGRESS_MIRROR || eaction === TCA_INGRESS_MIRROR
const isEgress = (eaction: number): boolean => eaction === TCA_EGRESS_REDIR || eaction === TCA_EGRESS_MIRROR

/** The `external` tunnel device (address) that an instance sends packets out of, 0 when it does something else. */
export function tunnelDeviceOf(m: Int32Array, act: number): number {
  const dev = m[(act + DEV) >> 2]
  const external = (m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0
  return external && isEgress(m[(act + EACTION) >> 2]) ? dev : 0
}

/** What a driver says to putting packets into a tunnel of this kind with this metadata. */
function encapRefused(m: Int32Array, tun: number, kind: number, r: OffloadRule): string | undefined {
  const flags = m[(tun + TUN_FLAGS) >> 2]
  const port = m[(tun + TUN_TP_SRC) >> 2] >>> 16
  switch (kind) {
    case NETDEV_KIND_VXLAN:
      return r.isVxlanPort(((port & 0xff) << 8) | (port >> 8))
        ? undefined
        : 'VXLAN udp dport was not registered with the HW'
    case NETDEV_KIND_GRETAP:
    case NETDEV_KIND_IP6GRETAP:
      return (flags & (TUNNEL_CSUM | TUNNEL_SEQ)) !== 0 ? 'GRE with checksum or sequence is not supported' : undefined
    case NETDEV_KIND_GENEVE:
    case NETDEV_KIND_BAREUDP:
      return undefined
    default:
      return 'Encapsulation offload is not supported for tunnels of this kind'
  }
}

/** The ifindex that the instance's device had, 0 when that is still there. */
export function goneDeviceOf(a: Arena, act: number): number {
  const ifindex = a.m[(act + IFINDEX) >> 2]
  return netdevByIndex(a, ifindex) === a.m[(act + DEV) >> 2] ? 0 : ifindex
}

/** Snapshots name devices that are gone, too: they make something of that ifindex first, and take it away at the end. */
let namesGone = false
/** From now on, on this thread, what is dumped names devices that are gone; or, as a kernel has it, does not. */
export const nameGoneDevices = (on: boolean): void => {
  namesGone = on
}

/** Does the instance send the packet away, rather than a copy? */
export const isRedirect = (m: Int32Array, act: number): boolean => !isMirror(m[(act + EACTION) >> 2])

export const mirred: ActionKind = {
  name: 'mirred',
  id: TCA_ID_MIRRED,
  parms: TCA_MIRRED_PARMS,
  parmsLen: TC_GEN_LEN + 8,
  missing: 'act_mirred: Mirred requires attributes to be passed',
  missingParms: 'act_mirred: Missing required mirred parameters',

  parse(args, b) {
    args.next()
    if (!args.matches('egress') && !args.matches('ingress') && !args.matches('index'))
      throw args.fail(`mirred option not supported ${args.word}`)
    const r = parseWords(args)
    if (typeof r === 'string') throw args.fail(r)
    const ifindex = r.dev ? args.device(r.dev) : 0
    if (isMirror(r.eaction)) r.control = controlOr(args, TC_ACT_PIPE)
    if (args.matches('index')) {
      if (r.index) throw args.fail('mirred: Illegal double index')
      r.index = readIndex(args, 'mirred: Illegal "index"')
    }
    const o = putParms(b, TCA_MIRRED_PARMS, r.index, r.control, 8)
    b.d.setInt32(o, r.eaction, true)
    b.d.setUint32(o + 4, ifindex, true)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'mirred')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_MIRRED_PARMS]
    if (!parms) return
    const [text, action, direction] = TEXT[d.getInt32(parms + TC_GEN_LEN, true)] ?? UNKNOWN
    out.text(`(${text}`)
    out.str('mirred_action', null, action)
    out.str('direction', null, direction)
    out.str('to_dev', ' to device %s)', out.devices.nameOf(d.getUint32(parms + TC_GEN_LEN + 4, true)))
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_MIRRED_TM], '\t')
  },

  init(c, act, d, o, end, old) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_MIRRED_PARMS]
    const eaction = d.getInt32(parms + TC_GEN_LEN, true)
    const ifindex = d.getUint32(parms + TC_GEN_LEN + 4, true)
    if (!(eaction in TEXT)) throw new NetlinkError(EINVAL, 'act_mirred: Unknown mirred option', parms)
    // One that is replaced may keep its device.
    if (ifindex === 0 && old === 0) throw new NetlinkError(EINVAL, 'act_mirred: Specified device does not exist', parms)
    checkControl(genAction(d, parms))
    const dev = ifindex === 0 ? m[(old + DEV) >> 2] : netdevByIndex(c.a, ifindex)
    if (dev === 0) throw new NetlinkError(ENODEV, '', parms)
    m[(act + EACTION) >> 2] = eaction
    m[(act + DEV) >> 2] = dev
    m[(act + IFINDEX) >> 2] = ifindex === 0 ? m[(old + IFINDEX) >> 2] : ifindex
    setControl(c, act, genAction(d, parms))
  },

  keep(c, act) {
    const { m } = c.a
    if (m[(act + ACT_CHAIN) >> 2] !== 0) return undefined
    const dev = m[(act + DEV) >> 2]
    const words = [ACT_CONTROL, EACTION, DEV, IFINDEX].map((field) => m[(act + field) >> 2])
    return Int32Array.of(...words, m[(dev + NETDEV_FEATURES) >> 2])
  },

  again(c, act, kept) {
    const { m } = c.a
    const dev = kept[2]
    if (netdevByIndex(c.a, kept[3]) !== dev || m[(dev + NETDEV_FEATURES) >> 2] !== kept[4]) return false
    m[(act + ACT_CONTROL) >> 2] = kept[0]
    m[(act + EACTION) >> 2] = kept[1]
    m[(act + DEV) >> 2] = dev
    m[(act + IFINDEX) >> 2] = kept[3]
    return true
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    const eaction = m[(act + EACTION) >> 2]
    const flags = (isMirror(eaction) ? REDIRECT_MIRROR : 0) | (isEgress(eaction) ? 0 : REDIRECT_INGRESS)
    const dev = m[(act + DEV) >> 2]
    if (c.path === 'fast' && c.tun !== 0 && tunnelDeviceOf(m, act) !== 0)
      c.emit(OP_ENCAP, c.encapOf(c.tun, dev), flags, c.counter(act))
    else c.emit(OP_REDIRECT, dev, flags, c.counter(act))
  },

  offload(m, act, ids) {
    const eaction = m[(act + EACTION) >> 2]
    if (isEgress(eaction)) ids.push(isMirror(eaction) ? FLOW_ACTION_MIRRED : FLOW_ACTION_REDIRECT)
    else ids.push(isMirror(eaction) ? FLOW_ACTION_MIRRED_INGRESS : FLOW_ACTION_REDIRECT_INGRESS)
  },

  driverRefuses(m, act, r) {
    if (!isEgress(m[(act + EACTION) >> 2])) return 'Redirect to ingress is supported only for OVS internal ports'
    const dev = m[(act + DEV) >> 2]
    const kind = m[(dev + NETDEV_KIND) >> 2]
    if (r.mpls && kind !== NETDEV_KIND_BAREUDP) return 'MPLS push is supported only towards MPLS over UDP'
    if (r.ethPop && !r.mpls) return 'Vlan pop eth is supported only with MPLS push'
    if (r.mplsPop && !r.ethPush) return 'MPLS pop is supported only with vlan push eth'
    if (r.ethPush && !r.mplsPop) return 'Vlan push eth is supported only with MPLS pop'
    if (r.tun !== 0 && tunnelDeviceOf(m, act) !== 0) {
      const reason = encapRefused(m, r.tun, kind, r)
      if (reason !== undefined) return reason
    } else if (kind !== NETDEV_KIND_PORT) return "Devices are not on same switch HW, can't offload forwarding"
    if (r.tun === 0 && r.outputs.has(dev)) return "Can't support duplicate output devices"
    if (++r.forwards > OUTPUTS_MAX) return `Can't support more than ${OUTPUTS_MAX} output ports`
    r.outputs.add(dev)
    r.tun = 0
    return undefined
  },

  dump(c, act, b) {
    const { m } = c.a
    const o = dumpParms(c, act, b, TCA_MIRRED_PARMS, 8)
    b.d.setInt32(o, m[(act + EACTION) >> 2], true)
    b.d.setUint32(o + 4, namesGone || goneDeviceOf(c.a, act) === 0 ? m[(act + IFINDEX) >> 2] : 0, true)
    dumpTm(c, act, b, TCA_MIRRED_TM)
  },
}
