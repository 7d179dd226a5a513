// RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR: addresses as `ip addr` speaks of them (inet_rtm_newaddr, inet6_rtm_newaddr).
// Under rtnl. Addresses that expire (a finite valid_lft) are refused by name.

import type { Arena } from '../memory/arena.ts'
import {
  attrBytes,
  attrLen,
  attrString,
  type Builder,
  forEachAttr,
  NLA_HDRLEN,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttrs,
} from '../wire/netlink.ts'
import {
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EEXIST,
  EINVAL,
  ENODEV,
  EOPNOTSUPP,
  NetlinkError,
  POLICY_TEXT,
} from '../wire/netlink_error.ts'
import * as I from '../wire/rtm_addr.ts'
import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import { addrFind, type NewAddr, nextAddr, readAddr } from './addr.ts'
import { familyBits, familyBytes, isAny, isLoopback, isMulticast, prefixOf, sameAddress } from './inet.ts'
import { addAddress, newAddr, removeAddress } from './link.ts'
import { loopbackDev, netdevByIndex, refuseKernels } from './netdev.ts'
import { beginReply, type Request } from './request.ts'

const tb = new Int32Array(I.IFA_PROTO + 1)
const KNOWN = new Set([
  I.IFA_ADDRESS,
  I.IFA_LOCAL,
  I.IFA_LABEL,
  I.IFA_BROADCAST,
  I.IFA_CACHEINFO,
  I.IFA_FLAGS,
  I.IFA_RT_PRIORITY,
  I.IFA_PROTO,
])
const FOREVER = 0xffffffff

function parse(r: Request): void {
  if (r.end < I.IFADDRMSG_ATTRS) throw new NetlinkError(EINVAL, 'message too short')
  forEachAttr(r.d, I.IFADDRMSG_ATTRS, r.end, (type, payload) => {
    if (!KNOWN.has(type)) throw new NetlinkError(EOPNOTSUPP, `address attribute ${type} is not supported`, payload - 4)
  })
  parseAttrs(r.d, I.IFADDRMSG_ATTRS, r.end, tb, I.IFA_PROTO)
  const family = I.ifaFamily(r.d)
  if (family !== AF_INET && family !== AF_INET6) throw new NetlinkError(EAFNOSUPPORT)
}

/** An address attribute as sixteen bytes, null when absent. */
function address(r: Request, type: number): Uint8Array | null {
  if (!tb[type]) return null
  const n = familyBytes(I.ifaFamily(r.d))
  if (attrLen(r.d, tb[type]) < n) throw new NetlinkError(EINVAL, 'invalid address length', tb[type] - 4)
  const out = new Uint8Array(16)
  out.set(attrBytes(r.d, tb[type]).subarray(0, n))
  return out
}

/** What the request says, with the kernel's checks (rtm_to_ifaddr, extract_addr). */
function wanted(r: Request): NewAddr {
  const { a, d } = r
  const family = I.ifaFamily(d)
  const length = I.ifaPrefixlen(d)
  const local = address(r, I.IFA_LOCAL)
  const given = address(r, I.IFA_ADDRESS)
  if (length > familyBits(family)) throw new NetlinkError(EINVAL, 'Invalid prefix length')
  const own = family === AF_INET ? local : (local ?? given)
  if (own === null) throw new NetlinkError(EINVAL, 'Local address is not supplied')
  const ifindex = I.ifaIndex(d)
  if (netdevByIndex(a, ifindex) === 0) throw new NetlinkError(ENODEV)
  refuseKernels(a, netdevByIndex(a, ifindex))
  let valid = FOREVER
  let preferred = FOREVER
  if (tb[I.IFA_CACHEINFO]) {
    if (attrLen(d, tb[I.IFA_CACHEINFO]) < 16)
      throw new NetlinkError(EINVAL, POLICY_TEXT, tb[I.IFA_CACHEINFO] - NLA_HDRLEN)
    preferred = d.getUint32(tb[I.IFA_CACHEINFO], true)
    valid = d.getUint32(tb[I.IFA_CACHEINFO] + 4, true)
    if (valid === 0) throw new NetlinkError(EINVAL, 'address lifetime invalid')
    if (preferred > valid) throw new NetlinkError(EINVAL, 'preferred lifetime is greater than valid lifetime')
    if (valid !== FOREVER || (preferred !== FOREVER && preferred !== 0))
      throw new NetlinkError(EOPNOTSUPP, 'addresses that expire are not supported', tb[I.IFA_CACHEINFO] - 4)
  }
  let flags = tb[I.IFA_FLAGS] ? d.getUint32(tb[I.IFA_FLAGS], true) : I.ifaFlags(d)
  flags =
    (flags & (I.IFA_F_NOPREFIXROUTE | I.IFA_F_NODAD | I.IFA_F_HOMEADDRESS | I.IFA_F_MCAUTOJOIN)) | I.IFA_F_PERMANENT
  if (preferred === 0) flags |= I.IFA_F_DEPRECATED
  if (flags & I.IFA_F_MCAUTOJOIN) throw new NetlinkError(EOPNOTSUPP, 'autojoin is not supported')
  const n = newAddr(a, {
    family,
    ifindex,
    local: own,
    length,
    flags,
    valid: -1,
    preferred: preferred === 0 ? 0 : -1,
    metric: tb[I.IFA_RT_PRIORITY] ? d.getUint32(tb[I.IFA_RT_PRIORITY], true) : 0,
    proto: tb[I.IFA_PROTO] ? d.getUint8(tb[I.IFA_PROTO]) : 0,
    cstamp: Math.floor(r.now / 10),
  })
  if (given !== null) n.peer = given
  if (family === AF_INET) {
    n.scope = I.ifaScope(d)
    n.broadcast = address(r, I.IFA_BROADCAST) ?? n.broadcast
    if (tb[I.IFA_LABEL]) n.label = attrString(d, tb[I.IFA_LABEL])
  }
  return n
}

/** RTM_NEWADDR. */
export function newAddrRequest(r: Request): void {
  parse(r)
  const n = wanted(r)
  if (n.family === AF_INET) add4(r, n)
  else add6(r, n)
}

function add4(r: Request, n: NewAddr): void {
  const { a } = r
  for (let p = nextAddr(a, 0, n.ifindex, AF_INET); p !== 0; p = nextAddr(a, p, n.ifindex, AF_INET)) {
    const x = readAddr(a, p)
    if (x.length !== n.length || !sameAddress(prefixOf(x.peer, x.length), prefixOf(n.peer, n.length))) continue
    if (sameAddress(x.local, n.local)) {
      if (r.flags & NLM_F_EXCL || !(r.flags & NLM_F_REPLACE)) throw new NetlinkError(EEXIST)
      replace(a, p, { ...n, flags: n.flags | (x.flags & I.IFA_F_SECONDARY) })
      return
    }
    if (x.scope !== n.scope) throw new NetlinkError(EINVAL, 'Invalid scope value')
    n.flags |= I.IFA_F_SECONDARY
  }
  addAddress(a, n)
}

function add6(r: Request, n: NewAddr): void {
  const { a } = r
  const known = addrFind(a, n.ifindex, AF_INET6, n.local)
  if (known !== 0) {
    if (r.flags & NLM_F_EXCL || !(r.flags & NLM_F_REPLACE)) throw new NetlinkError(EEXIST)
    replace(a, known, n)
    return
  }
  const loopback = netdevByIndex(a, n.ifindex) === loopbackDev(a)
  if (isAny(n.local) || isMulticast(AF_INET6, n.local)) throw new NetlinkError(EADDRNOTAVAIL)
  if (isLoopback(AF_INET6, n.local) && !loopback) throw new NetlinkError(EADDRNOTAVAIL)
  addAddress(a, n)
}

/** `ip addr replace` and `change`: lifetimes, metric and protocol; what it is an address of stays. */
function replace(a: Arena, p: number, n: NewAddr): void {
  const old = readAddr(a, p)
  removeAddress(a, p)
  addAddress(a, {
    ...old,
    flags: n.flags,
    valid: n.valid,
    preferred: n.preferred,
    metric: n.metric,
    proto: n.proto || old.proto,
  })
}

/** RTM_DELADDR: the first address of the device that is what the request names. */
export function delAddr(r: Request): void {
  parse(r)
  const { a, d } = r
  const family = I.ifaFamily(d)
  const ifindex = I.ifaIndex(d)
  const local = address(r, I.IFA_LOCAL)
  const given = address(r, I.IFA_ADDRESS)
  if (family === AF_INET6 && local === null && given === null)
    throw new NetlinkError(EINVAL, 'Local address is not supplied')
  if (netdevByIndex(a, ifindex) === 0) throw new NetlinkError(ENODEV)
  refuseKernels(a, netdevByIndex(a, ifindex))
  const length = I.ifaPrefixlen(d)
  for (let p = nextAddr(a, 0, ifindex, family); p !== 0; p = nextAddr(a, p, ifindex, family)) {
    const x = readAddr(a, p)
    if (family === AF_INET6) {
      if (x.length !== length || !sameAddress(x.local, (local ?? given)!)) continue
    } else {
      if (local !== null && !sameAddress(x.local, local)) continue
      if (tb[I.IFA_LABEL] && attrString(d, tb[I.IFA_LABEL]) !== x.label) continue
      if (given !== null && (length !== x.length || !sameAddress(prefixOf(given, length), prefixOf(x.peer, length))))
        continue
    }
    removeAddress(a, p)
    return
  }
  throw new NetlinkError(EADDRNOTAVAIL)
}

/** RTM_GETADDR, a dump: of one family, of one device (ifa_index), or all. */
export function getAddr(r: Request): void {
  if ((r.flags & NLM_F_DUMP) !== NLM_F_DUMP)
    throw new NetlinkError(EOPNOTSUPP, 'flowerbed: addresses are asked for as a dump')
  const family = r.d.getUint8(16)
  const index = r.end >= I.IFADDRMSG_ATTRS ? I.ifaIndex(r.d) : 0
  for (
    let p = nextAddr(r.a, 0, index, family === AF_UNSPEC ? 0 : family);
    p !== 0;
    p = nextAddr(r.a, p, index, family)
  ) {
    const b = beginReply(r, I.RTM_NEWADDR, true)
    fillAddr(r.a, p, b)
    r.reply(b.end())
  }
}

/** inet_fill_ifaddr, inet6_fill_ifaddr. */
export function fillAddr(a: Arena, p: number, b: Builder): void {
  const n = readAddr(a, p)
  const bytes = familyBytes(n.family)
  I.ifaddrmsg(b, n.family, n.length, n.flags & 0xff, n.scope, n.ifindex)
  if (n.family === AF_INET) {
    b.attr(I.IFA_ADDRESS, n.peer.subarray(0, bytes))
    b.attr(I.IFA_LOCAL, n.local.subarray(0, bytes))
    if (!isAny(n.broadcast)) b.attr(I.IFA_BROADCAST, n.broadcast.subarray(0, bytes))
    if (n.label) b.attrStr(I.IFA_LABEL, n.label)
    if (n.proto) b.attrU8(I.IFA_PROTO, n.proto)
    b.attrU32(I.IFA_FLAGS, n.flags)
    if (n.metric) b.attrU32(I.IFA_RT_PRIORITY, n.metric)
    cacheInfo(b, n)
    return
  }
  if (sameAddress(n.local, n.peer)) b.attr(I.IFA_ADDRESS, n.local)
  else {
    b.attr(I.IFA_LOCAL, n.local)
    b.attr(I.IFA_ADDRESS, n.peer)
  }
  if (n.metric) b.attrU32(I.IFA_RT_PRIORITY, n.metric)
  cacheInfo(b, n)
  b.attrU32(I.IFA_FLAGS, n.flags)
  if (n.proto) b.attrU8(I.IFA_PROTO, n.proto)
}

/** struct ifa_cacheinfo: preferred, valid, created, updated. */
function cacheInfo(b: Builder, n: NewAddr): void {
  const o = b.attrRoom(I.IFA_CACHEINFO, 16)
  b.d.setUint32(o, n.preferred >>> 0, true)
  b.d.setUint32(o + 4, n.valid >>> 0, true)
  b.d.setUint32(o + 8, n.cstamp, true)
  b.d.setUint32(o + 12, n.cstamp, true)
}
