// A small world for the tests, models and stress of encap/: a switch with two ports, a vxlan device, addresses, and flows
// that are nothing but their encap side. Imported by tests only.

import { type Arena, createArena, rcuOf } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as F from '../memory/layout/flow.ts'
import { NETDEV_KIND_VXLAN } from '../memory/layout/netdev.ts'
import { alloc, freeRcu, TAG_FLOW, TAG_TUN_INFO } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { fibInsert, fibRemove, newRoute } from '../net/fib.ts'
import { addAddress, addPort, linkUp, netInit, newAddr } from '../net/link.ts'
import { NEIGH_UPDATE_F_OVERRIDE, neighGet, neighRemove, neighUpdateAdmin } from '../net/neigh_update.ts'
import { netdevIfindex, netdevNotify, netdevRegister } from '../net/netdev.ts'
import { or } from '../sync/atomic.ts'
import { complete } from '../sync/completion.ts'
import { online, publish } from '../sync/rcu.ts'
import * as Refcount from '../sync/refcount.ts'
import { tunnelNamed } from '../tunnel/index.ts'
import { Builder, viewOf } from '../wire/netlink.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6, RT_TABLE_MAIN, RTN_UNICAST } from '../wire/rtm_route.ts'
import { detach } from './attach.ts'
import { type EncapOps, encapInit, type FlowOps, hwDone, lastPut, openEncap } from './encap.ts'

/** Sixteen bytes of `10.0.1.2` or of `fd00:1::2` (with at most one `::`). */
export function ip(text: string): Uint8Array {
  const out = new Uint8Array(16)
  if (!text.includes(':')) {
    text.split('.').forEach((x, i) => {
      out[i] = Number(x)
    })
    return out
  }
  const [head, tail = ''] = text.split('::')
  const groups = (s: string): number[] => (s === '' ? [] : s.split(':').map((x) => Number.parseInt(x, 16)))
  groups(head).forEach((g, i) => {
    out[2 * i] = g >> 8
    out[2 * i + 1] = g
  })
  const end = groups(tail)
  end.forEach((g, i) => {
    out[16 - 2 * (end.length - i)] = g >> 8
    out[17 - 2 * (end.length - i)] = g
  })
  return out
}
export const family = (text: string): number => (text.includes(':') ? AF_INET6 : AF_INET)
export const mac = (n: number): Uint8Array => Uint8Array.of(2, 0x11, 0, 0, n >> 8, n & 0xff)

export interface World {
  readonly a: Arena
  readonly p1: number
  readonly p2: number
  readonly vxlan0: number
  readonly ops: EncapOps
  /** Milliseconds; tests move it. */
  clock: { now: number }
}

/** Programs of flows are these two words. */
export const FAST = 0x1000
export const SLOW = 0x2000

/** How flow/ would do it, without actions and tables. */
export const plainFlows: FlowOps = {
  fast: (a, flow) => publish(a.m, (flow + F.FLOW_ACTIONS) >> 2, FAST),
  slow: (a, flow) => publish(a.m, (flow + F.FLOW_ACTIONS) >> 2, SLOW),
  put: (a, flow) => putFlow(a, flow),
}

/** A vxlan device, set up. */
export function addVxlan(a: Arena, name: string, fill: (b: Builder) => void): number {
  const b = new Builder()
  b.begin(0, 0)
  fill(b)
  const data = b.end().slice(16)
  const dev = netdevRegister(a, { name, kind: NETDEV_KIND_VXLAN })
  tunnelNamed('vxlan')?.newlink(a, dev, viewOf(data), 0, data.length, 0)
  netdevNotify(a, L.RTM_NEWLINK, dev)
  linkUp(a, dev)
  return dev
}

export const external = (b: Builder): void => {
  b.attrU8(L.IFLA_VXLAN_COLLECT_METADATA, 1)
  b.attrBe16(L.IFLA_VXLAN_PORT, 4789)
}

/** p1 10.0.1.1/24 fd00:1::1/64, p2 10.0.2.1/24, vxlan0 external; this thread reads under RCU. */
export function makeWorld(o: { mode?: number; threads?: number } = {}): World {
  return worldIn(createArena({ bytes: 256 << 20, counters: 1 << 16, packets: 16, threads: o.threads ?? 8 }), o.mode)
}

/** The same in an arena that is there already. */
export function worldIn(a: Arena, mode?: number): World {
  netInit(a)
  encapInit(a, mode === undefined ? {} : { mode })
  online(a.m, rcuOf(a), readerOf(a))
  const clock = { now: 1000 }
  const ops = openEncap(a, { flows: plainFlows, now: () => clock.now })
  const p1 = addPort(a, 'p1', 0, Uint8Array.of(2, 0, 0, 0, 0, 1))
  const p2 = addPort(a, 'p2', 1, Uint8Array.of(2, 0, 0, 0, 0, 2))
  const addr = (dev: number, text: string, length: number): void => {
    addAddress(a, newAddr(a, { family: family(text), ifindex: netdevIfindex(a, dev), local: ip(text), length }))
  }
  addr(p1, '10.0.1.1', 24)
  addr(p1, 'fd00:1::1', 64)
  addr(p2, '10.0.2.1', 24)
  const vxlan0 = addVxlan(a, 'vxlan0', external)
  return { a, p1, p2, vxlan0, ops, clock }
}

/** Metadata of a tunnel_key action; the caller frees nothing, a test's arena goes as a whole. */
export function tunKey(a: Arena, dst: string, vni = 1, src = '', more: { tos?: number; opts?: number[] } = {}): number {
  const { opts = [] } = more
  const p = alloc(a, T.TUN_SIZE + ((opts.length + 3) & ~3), TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX | (family(dst) === AF_INET6 ? T.TUN_IPV6 : 0)
  a.m[(p + T.TUN_FLAGS) >> 2] = T.TUNNEL_KEY | T.TUNNEL_CSUM
  a.m[(p + T.TUN_ID) >> 2] = vni
  if (src !== '') a.u8.set(ip(src), p + T.TUN_SRC)
  a.u8.set(ip(dst), p + T.TUN_DST)
  a.u8[p + T.TUN_TOS] = more.tos ?? 0
  a.u8[p + T.TUN_OPTS_LEN] = opts.length
  a.u8.set(opts, p + T.TUN_OPTS)
  return p
}

export function setNeigh(w: World, dev: number, text: string, state: number, ll: Uint8Array | null): void {
  const n = neighGet(w.a, family(text), ip(text), dev, w.clock.now)
  neighUpdateAdmin(w.a, n, ll, state, NEIGH_UPDATE_F_OVERRIDE, w.clock.now)
}

export function delNeigh(w: World, dev: number, text: string): void {
  neighRemove(w.a, neighGet(w.a, family(text), ip(text), dev, w.clock.now))
}

export function addRoute(
  w: World,
  dst: string,
  length: number,
  r: { via?: string; dev?: number; type?: number },
): number {
  const type = r.type ?? RTN_UNICAST
  return fibInsert(
    w.a,
    newRoute({
      family: family(dst),
      table: RT_TABLE_MAIN,
      type,
      dst: ip(dst),
      length,
      oif: r.dev === undefined ? 0 : netdevIfindex(w.a, r.dev),
      ...(r.via === undefined ? {} : { gatewayFamily: family(r.via), gateway: ip(r.via) }),
    }),
  )
}
export const delRoute = (w: World, route: number): void => fibRemove(w.a, route)

// ---- flows
let cookies = 0
/** A flow with its encap destinations, made as flow/ makes one. */
export function addFlow(w: { a: Arena; ops: EncapOps }, items: { tun: number; dev: number }[]): number {
  const { a } = w
  const { m } = a
  const flow = alloc(a, F.FLOW_SIZE, TAG_FLOW)
  Refcount.init(m, (flow + F.FLOW_REFCNT) >> 2)
  m[(flow + F.FLOW_COOKIE) >> 2] = ++cookies
  const valid = w.ops.attach(a, flow, items)
  m[(flow + F.FLOW_ACTIONS) >> 2] = valid ? FAST : SLOW
  or(m, (flow + F.FLOW_FLAGS) >> 2, F.FLOW_F_OFFLOADED)
  if (items.length > 0) complete(m, (flow + F.FLOW_INIT_DONE) >> 2, 1)
  return flow
}

/** The last put takes the flow down. */
export function putFlow(a: Arena, flow: number): void {
  const { m } = a
  if (!lastPut(a, flow)) return
  publish(m, (flow + F.FLOW_ACTIONS) >> 2, 0)
  hwDone(a, flow)
  detach(a, flow)
  freeRcu(a, flow, F.FLOW_SIZE, TAG_FLOW)
}

export const isFast = (a: Arena, flow: number): boolean => a.m[(flow + F.FLOW_ACTIONS) >> 2] === FAST
