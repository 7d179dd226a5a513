// The storm (mlx5e-scheme 4.8): control threads add, delete and query rules over many tunnel keys, a host thread makes
// neighbours, routes and devices change every moment, the event worker follows, and a datapath worker sends packets
// through whatever stands in the tables. Real threads, a seed, and at the end the invariants of 9.4.
//
// These are the threads; run_storm.stress.ts starts them and judges.
//
// Every MAC that a next hop gets carries the next hop's number, the number of the change and a check byte. So each packet
// that leaves tells which header it got: a torn one has a wrong check byte, an old one a number below what its tunnel key
// has shown before, and after the storm there may be none but the last.

import { Datapath } from '../datapath/chip.ts'
import { type Arena, attachArena, rcuOf } from '../memory/arena.ts'
import { EMIT_OUTPUT, PUNT_TUNNEL } from '../memory/layout/worker.ts'
import { reclaim } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { fibInsert, fibRemove, newRoute } from '../net/fib.ts'
import { linkSetMtu } from '../net/link.ts'
import {
  NEIGH_UPDATE_F_ADMIN,
  NEIGH_UPDATE_F_OVERRIDE,
  neighGet,
  neighRemove,
  neighUpdate,
} from '../net/neigh_update.ts'
import { netdevByIndex, netdevByName, netdevIfindex, netdevName } from '../net/netdev.ts'
import { openControl, request } from '../switch/control.ts'
import { add, load, wait } from '../sync/atomic.ts'
import { offline, online } from '../sync/rcu.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { udp } from '../testing/packets.ts'
import { viewOf } from '../wire/netlink.ts'
import { NUD_FAILED, NUD_PERMANENT, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET, RT_TABLE_MAIN, RTN_UNICAST } from '../wire/rtm_route.ts'
import { encapUsed, eventLoop } from './encap.ts'
import { ip } from './world.fixture.ts'

export interface StormOptions {
  seconds: number
  seed: number
  /** Control threads. */
  control: number
  /** Rules, over all control threads. */
  rules: number
  /** Tunnel keys; there is a next hop for every fourth. */
  keys: number
  offload: boolean
}

export interface StormReport {
  adds: number
  deletes: number
  queries: number
  /** Refusals that a race explains: EEXIST, ENOENT. */
  refused: number
  changes: number
  packets: number
  sent: number
  punted: number
  stats: Record<string, number>
  wrong: string[]
}

export interface Shared extends StormOptions {
  readonly memory: WebAssembly.Memory
  readonly ctl: Int32Array
  readonly p0: number
  readonly p1: number
  readonly p2: number
  readonly began: number
}

// Words of ctl.
export const STOP = 0
export const STOP_EVENTS = 1
const IDLE = 2
/** Threads that are ready; all begin when GO is 1. */
export const READY = 3
export const GO = 4
/** Number of the last change of each next hop. */
export const CHANGES = 16
export const HOPS_MAX = 250

export const hops = (s: StormOptions): number => Math.min(HOPS_MAX, Math.max(1, s.keys >> 2))
export const hopAddress = (n: number): string => `10.0.1.${2 + n}`
export const macOf = (n: number, change: number): Uint8Array => {
  const c = change & 0xffff
  return Uint8Array.of(2, n, c >> 8, c & 0xff, check(n, c), 0x55)
}
const check = (n: number, c: number): number => (n * 7 + (c >> 8) * 13 + (c & 0xff) * 31) & 0xff

/** xorshift32. */
function random(seed: number): (n: number) => number {
  let x = seed | 1
  return (n) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % n
  }
}

export const clock = (s: Shared) => (): number => Date.now() - s.began + 1000

/** A thread has attached: it waits for the others. */
function ready(s: Shared): void {
  add(s.ctl, READY, 1)
  while (load(s.ctl, GO) === 0) wait(s.ctl, GO, 0, 100)
}

/** What one thread does under RCU. */
export function reading<T>(a: Arena, f: () => T): T {
  online(a.m, rcuOf(a), readerOf(a))
  try {
    return f()
  } finally {
    offline(a.m, rcuOf(a), readerOf(a))
  }
}

export const devicesOf = (a: Arena) => ({
  indexOf: (name: string): number => {
    const dev = netdevByName(a, name)
    return dev === 0 ? 0 : netdevIfindex(a, dev)
  },
  nameOf: (i: number): string => netdevName(a, netdevByIndex(a, i)),
})

const ruleIp = (i: number): string => `11.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
const encapTo = (s: StormOptions, key: number, mirred: string): string =>
  `action tunnel_key set src_ip 10.0.1.1 dst_ip ${hopAddress(key % hops(s))} id ${key + 1} dst_port 4789 nocsum action mirred egress ${mirred} dev vxlan0`
const place = (i: number): string => `dev p0 ingress protocol ip pref ${10 + (i & 7)} handle ${(i >> 3) + 1} flower`
/** Every eighth rule has three destinations. */
const addLine = (s: StormOptions, i: number): string => {
  const key = i % s.keys
  const many =
    i % 8 === 0 ? `${encapTo(s, (key + 1) % s.keys, 'mirror')} ${encapTo(s, (key + 2) % s.keys, 'mirror')} ` : ''
  return `tc filter add ${place(i)} dst_ip ${ruleIp(i)} ip_proto udp ${many}${encapTo(s, key, 'redirect')}`
}

export const errnoOf = (replies: Uint8Array[]): number => {
  const d = viewOf(replies[replies.length - 1])
  return d.getUint16(4, true) === 2 ? -d.getInt32(16, true) : 0
}

/** A control thread: its share of the rules, and a contested sixteenth that all of them add and delete. */
export function control(s: Shared, index: number): { adds: number; deletes: number; queries: number; refused: number } {
  const a = attachArena(s.memory)
  const c = openControl(a, { now: clock(s) })
  const next = random(s.seed * 1000 + index + 1)
  const devices = devicesOf(a)
  const build = (line: string): Uint8Array => parseCommand(splitLine(line), devices).requests[0]
  const messages = new Map<number, { add: Uint8Array; del: Uint8Array; get: Uint8Array }>()
  const there = new Set<number>()
  const r = { adds: 0, deletes: 0, queries: 0, refused: 0 }
  const contested = Math.max(8, s.rules >> 4)
  const done = (message: Uint8Array): boolean => {
    const errno = errnoOf(reading(a, () => request(c, message)))
    if (errno === 0) return true
    if (errno !== 17 && errno !== 2) throw new Error(`control ${index}: errno ${errno}`)
    r.refused++
    return false
  }
  ready(s)
  while (load(s.ctl, STOP) === 0) {
    const own = next(8) !== 0
    const i = own
      ? contested + index + s.control * next(Math.floor((s.rules - contested) / s.control))
      : next(contested)
    let m = messages.get(i)
    if (m === undefined) {
      m = {
        add: build(addLine(s, i)),
        del: build(`tc filter del ${place(i)}`),
        get: build(`tc filter get ${place(i)}`),
      }
      messages.set(i, m)
    }
    const exists = own ? there.has(i) : next(2) === 0
    if (exists && next(4) === 0) {
      if (done(m.get)) r.queries++
    } else if (exists) {
      const ok = done(m.del)
      if (own && !ok) throw new Error(`control ${index}: rule ${i} of mine was gone`)
      if (ok) r.deletes++
      there.delete(i)
    } else {
      const ok = done(m.add)
      if (own && !ok) throw new Error(`control ${index}: rule ${i} of mine was there`)
      if (ok) r.adds++
      there.add(i)
    }
    if (next(64) === 0) reclaim(a)
  }
  reclaim(a)
  leave(a)
  return r
}

function change(a: Arena, s: Shared, n: number, kind: number, now: number): void {
  const hop = ip(hopAddress(n))
  const neigh = neighGet(a, AF_INET, hop, s.p1, now)
  const flags = NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN
  if (kind < 12) {
    const c = add(s.ctl, CHANGES + n, 1) + 1
    neighUpdate(a, neigh, macOf(n, c), [NUD_PERMANENT, NUD_REACHABLE, NUD_STALE][kind % 3], flags, now)
  } else if (kind < 15) neighUpdate(a, neigh, null, NUD_FAILED, flags, now)
  else neighRemove(a, neigh)
}

/** Half of the next hops by way of another: through p2, whose next hop has the number HOPS_MAX. */
const detour = (s: Shared, a: Arena) =>
  newRoute({
    family: AF_INET,
    table: RT_TABLE_MAIN,
    type: RTN_UNICAST,
    dst: ip('10.0.1.16'),
    length: 28,
    oif: netdevIfindex(a, s.p2),
    gatewayFamily: AF_INET,
    gateway: ip('10.0.2.9'),
  })

/** The host thread: neighbours flap, a route comes and goes, a port's MTU changes. */
export function host(s: Shared): number {
  const a = attachArena(s.memory)
  openControl(a, { now: clock(s) })
  const next = random(s.seed * 77 + 5)
  const now = clock(s)
  let changes = 0
  let route = 0
  ready(s)
  while (load(s.ctl, STOP) === 0) {
    reading(a, () => {
      change(a, s, next(hops(s)), next(16), now())
      if (next(200) === 0) {
        if (route === 0) route = fibInsert(a, detour(s, a))
        else {
          fibRemove(a, route)
          route = 0
        }
      }
      if (next(300) === 0) linkSetMtu(a, s.p1, 1400 + next(2) * 100)
    })
    changes++
    if (next(3) === 0) wait(s.ctl, IDLE, 0, 1)
  }
  reading(a, () => {
    if (route !== 0) fibRemove(a, route)
    for (let n = 0; n < hops(s); n++) change(a, s, n, 0, now())
  })
  reclaim(a)
  leave(a)
  return changes
}

export function events(s: Shared): number {
  const a = attachArena(s.memory)
  openControl(a, { now: clock(s) })
  ready(s)
  eventLoop(a, () => load(s.ctl, STOP_EVENTS) !== 0)
  leave(a)
  return 0
}

export interface Sender {
  packets: number
  sent: number
  punted: number
  wrong: string[]
}

/** Sends a packet of rule i and looks at what leaves. `exact`: only the last header of each next hop will do. */
export function sendOne(
  s: Shared,
  a: Arena,
  dp: Datapath,
  i: number,
  last: Map<number, number>,
  r: Sender,
  exact: boolean,
): void {
  const pkt = dp.alloc()
  if (pkt === 0) throw new Error('no packet slot')
  dp.loadBytes(pkt, udp({ src: '9.9.9.9', dst: ruleIp(i), dport: 53 }))
  dp.receive(pkt, s.p0)
  r.packets++
  for (const e of dp.takeEmissions()) {
    if (e.kind === EMIT_OUTPUT) {
      const f = dp.frame(e.pkt)
      const [n, c] = [f[1], (f[2] << 8) | f[3]]
      const vni = (f[46] << 16) | (f[47] << 8) | f[48]
      const before = last.get(vni * 256 + n) ?? 0
      if (f[0] !== 2 || f[5] !== 0x55 || f[4] !== check(n, c)) r.wrong.push(`I8 torn MAC ${f.slice(0, 6).join(' ')}`)
      else if (((c - before) << 16) >> 16 < 0 && before !== 0) r.wrong.push(`I8 key ${vni}: MAC ${c} after ${before}`)
      else if (exact && n !== HOPS_MAX && c !== (s.ctl[CHANGES + n] & 0xffff))
        r.wrong.push(`I8 key ${vni}: MAC ${c}, not the last`)
      last.set(vni * 256 + n, c)
      r.sent++
    } else if (e.kind === PUNT_TUNNEL) {
      encapUsed(a, e.arg)
      r.punted++
    }
    dp.release(e.pkt)
  }
}

/** The datapath worker. */
export function packets(s: Shared): Sender {
  const a = attachArena(s.memory)
  openControl(a, { now: clock(s) })
  const dp = new Datapath(a, 0)
  dp.online()
  const next = random(s.seed * 31 + 3)
  const last = new Map<number, number>()
  const r: Sender = { packets: 0, sent: 0, punted: 0, wrong: [] }
  ready(s)
  while (load(s.ctl, STOP) === 0 && r.wrong.length < 5) {
    dp.setTime(clock(s)() * 1e6)
    for (let k = 0; k < 32; k++) sendOne(s, a, dp, next(s.rules), last, r, false)
    dp.quiescent()
  }
  dp.offline()
  leave(a)
  return r
}
