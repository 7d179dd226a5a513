// RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH: neighbours as `ip neigh` speaks of them (neigh_add, neigh_delete,
// neigh_dump_info). Under rtnl.

import type { Arena } from '../memory/arena.ts'
import {
  attrBytes,
  attrLen,
  type Builder,
  forEachAttr,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttrs,
} from '../wire/netlink.ts'
import {
  EAFNOSUPPORT,
  EEXIST,
  EINVAL,
  ENOBUFS,
  ENODEV,
  ENOENT,
  EOPNOTSUPP,
  NetlinkError,
} from '../wire/netlink_error.ts'
import * as N from '../wire/rtm_neigh.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import { familyBytes } from './inet.ts'
import { NEIGH_DEV, NEIGH_PROTOCOL, NUD_VALID, neighEach, neighLookup, neighSnapshot } from './neigh.ts'
import {
  NEIGH_UPDATE_F_ADMIN,
  NEIGH_UPDATE_F_EXT_LEARNED,
  NEIGH_UPDATE_F_ISROUTER,
  NEIGH_UPDATE_F_OVERRIDE,
  NEIGH_UPDATE_F_OVERRIDE_ISROUTER,
  NEIGH_UPDATE_F_USE,
  neighGet,
  neighRemove,
  neighUpdate,
  neighUpdateAdmin,
  neighUse,
} from './neigh_update.ts'
import { netdevByIndex, netdevIfindex, refuseKernels } from './netdev.ts'
import { beginReply, type Request } from './request.ts'

const tb = new Int32Array(N.NDA_NDM_FLAGS_MASK + 1)
const KNOWN = new Set([N.NDA_DST, N.NDA_LLADDR, N.NDA_PROTOCOL, N.NDA_CACHEINFO, N.NDA_PROBES, N.NDA_FLAGS_EXT])

function parse(r: Request): { dev: number; address: Uint8Array; family: number } {
  if (r.end < N.NDMSG_ATTRS) throw new NetlinkError(EINVAL, 'message too short')
  forEachAttr(r.d, N.NDMSG_ATTRS, r.end, (type, payload) => {
    if (!KNOWN.has(type))
      throw new NetlinkError(EOPNOTSUPP, `neighbour attribute ${type} is not supported`, payload - 4)
  })
  parseAttrs(r.d, N.NDMSG_ATTRS, r.end, tb, N.NDA_NDM_FLAGS_MASK)
  const { a, d } = r
  if (!tb[N.NDA_DST]) throw new NetlinkError(EINVAL, 'Network address not specified')
  const index = N.ndmIfindex(d)
  const dev = index > 0 ? netdevByIndex(a, index) : 0
  if (index !== 0 && dev === 0) throw new NetlinkError(ENODEV)
  const family = N.ndmFamily(d)
  if (tb[N.NDA_LLADDR] && attrLen(d, tb[N.NDA_LLADDR]) < 6) throw new NetlinkError(EINVAL, 'Invalid link address')
  if (family !== AF_INET && family !== AF_INET6) throw new NetlinkError(EAFNOSUPPORT)
  if (attrLen(d, tb[N.NDA_DST]) < familyBytes(family)) throw new NetlinkError(EINVAL, 'Invalid network address')
  if (N.ndmFlags(d) & N.NTF_PROXY) throw new NetlinkError(EOPNOTSUPP, 'proxy neighbours are not supported')
  if (tb[N.NDA_FLAGS_EXT] && d.getUint32(tb[N.NDA_FLAGS_EXT], true))
    throw new NetlinkError(EOPNOTSUPP, 'managed neighbours are not supported')
  if (dev === 0) throw new NetlinkError(EINVAL, 'Device not specified')
  if (r.type !== N.RTM_GETNEIGH) refuseKernels(a, dev)
  const address = new Uint8Array(16)
  address.set(attrBytes(d, tb[N.NDA_DST]).subarray(0, familyBytes(family)))
  return { dev, address, family }
}

/** RTM_NEWNEIGH: neigh_add. */
export function newNeigh(r: Request): void {
  const { a, d, now } = r
  const { dev, address, family } = parse(r)
  const state = N.ndmState(d)
  const ndmFlags = N.ndmFlags(d)
  let flags = NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE_ISROUTER
  const mac = tb[N.NDA_LLADDR] ? attrBytes(d, tb[N.NDA_LLADDR]).slice(0, 6) : null
  let n = neighLookup(a, family, address, dev)
  if (n === 0 && !(r.flags & NLM_F_CREATE)) throw new NetlinkError(ENOENT)
  if (n !== 0 && r.flags & NLM_F_EXCL) throw new NetlinkError(EEXIST)
  // The kernel finds this out when it has made the neighbour, and leaves it there without a state.
  const known = mac !== null || (n !== 0 && (neighSnapshot(a, n).state & NUD_VALID) !== 0)
  if (state & NUD_VALID && !known && !(ndmFlags & N.NTF_USE))
    throw new NetlinkError(EINVAL, 'No link layer address given')
  if (n === 0) {
    const exempt = (state & N.NUD_PERMANENT) !== 0 || (ndmFlags & N.NTF_EXT_LEARNED) !== 0
    n = neighGet(a, family, address, dev, now, exempt)
    if (n === 0) throw new NetlinkError(ENOBUFS, 'neighbour table overflow')
  } else if (!(r.flags & NLM_F_REPLACE)) flags &= ~(NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE_ISROUTER)
  if (tb[N.NDA_PROTOCOL]) a.m[(n + NEIGH_PROTOCOL) >> 2] = d.getUint8(tb[N.NDA_PROTOCOL])
  if (ndmFlags & N.NTF_EXT_LEARNED) flags |= NEIGH_UPDATE_F_EXT_LEARNED
  if (ndmFlags & N.NTF_ROUTER) flags |= NEIGH_UPDATE_F_ISROUTER
  if (ndmFlags & N.NTF_USE) flags |= NEIGH_UPDATE_F_USE
  neighUpdateAdmin(a, n, mac, state, flags, now)
  if (ndmFlags & N.NTF_USE) neighUse(a, n, now)
}

/** RTM_DELNEIGH: neigh_delete. Whoever waits for it is told that it failed. */
export function delNeigh(r: Request): void {
  const { a, now } = r
  const { dev, address, family } = parse(r)
  const n = neighLookup(a, family, address, dev)
  if (n === 0) throw new NetlinkError(ENOENT)
  neighUpdate(a, n, null, N.NUD_FAILED, NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN, now)
  neighRemove(a, n)
}

/** RTM_GETNEIGH: one neighbour, or a dump of a family and a device; those without a state stay hidden. */
export function getNeigh(r: Request): void {
  const { a, d } = r
  if ((r.flags & NLM_F_DUMP) !== NLM_F_DUMP) {
    const { dev, address, family } = parse(r)
    const n = neighLookup(a, family, address, dev)
    if (n === 0) throw new NetlinkError(ENOENT)
    const b = beginReply(r, N.RTM_NEWNEIGH, false)
    fillNeigh(a, n, b, r.now)
    r.reply(b.end())
    return
  }
  const family = r.d.getUint8(16)
  if (r.end >= N.NDMSG_ATTRS && N.ndmFlags(d) & N.NTF_PROXY) return
  tb.fill(0)
  if (r.end >= N.NDMSG_ATTRS) parseAttrs(d, N.NDMSG_ATTRS, r.end, tb, N.NDA_NDM_FLAGS_MASK)
  const index = tb[N.NDA_IFINDEX] ? d.getUint32(tb[N.NDA_IFINDEX], true) : 0
  const all: number[] = []
  neighEach(a, (n) => {
    const s = neighSnapshot(a, n)
    if (family !== 0 && s.family !== family) return
    if (index !== 0 && netdevIfindex(a, a.m[(n + NEIGH_DEV) >> 2]) !== index) return
    if (s.state !== N.NUD_NONE) all.push(n)
  })
  // The kernel's order is that of a hash with a random seed; ours is by family, device and address.
  const key = (n: number): string => {
    const s = neighSnapshot(a, n)
    return String.fromCharCode(s.family, netdevIfindex(a, s.dev), ...s.address)
  }
  const keyed = all.map((n) => [key(n), n] as const).sort((x, y) => (x[0] < y[0] ? -1 : 1))
  for (const [, n] of keyed) {
    const b = beginReply(r, N.RTM_NEWNEIGH, true)
    fillNeigh(a, n, b, r.now)
    r.reply(b.end())
  }
}

/** neigh_fill_info. Times in the cache info are hundredths of a second ago. */
export function fillNeigh(a: Arena, n: number, b: Builder, now: number): void {
  const s = neighSnapshot(a, n)
  N.ndmsg(b, s.family, netdevIfindex(a, s.dev), s.state, s.flags & 0xff, s.type)
  b.attr(N.NDA_DST, s.address.subarray(0, familyBytes(s.family)))
  if (s.state & NUD_VALID) b.attr(N.NDA_LLADDR, s.mac)
  const ago = (t: number): number => Math.floor((((now | 0) - t) | 0) / 10)
  const o = b.attrRoom(N.NDA_CACHEINFO, 16)
  b.d.setUint32(o, ago(s.confirmed), true)
  b.d.setUint32(o + 4, ago(s.used), true)
  b.d.setUint32(o + 8, ago(s.updated), true)
  b.d.setUint32(o + 12, 0, true)
  b.attrU32(N.NDA_PROBES, s.probes)
  if (s.protocol) b.attrU8(N.NDA_PROTOCOL, s.protocol)
}
