// The slow switch: what the filters of a port do with a frame, at ingress or at egress, one obvious step at a time, after tc-flower(8),
// cls_api.c, cls_flower.c and the act_*.c. Rules are kept as they were written; nothing is hashed, cached or compiled.

import { referenceKey } from '../datapath/reference.ts'
import * as K from '../memory/layout/flow_key.ts'
import type { Outer } from './random_frames.fixture.ts'
import type { Action, Control, Rule } from './random_rules.fixture.ts'
import { csum } from './slow_checksum.fixture.ts'
import { SlowConntrack, type Tracked } from './slow_conntrack.fixture.ts'

export interface Installed {
  readonly rule: Rule
  readonly handle: number
  /** What the mask of its preference looks at; filters of equal masks are one group. */
  readonly mask: string
  readonly key: string
  packets: number
  bytes: number
}

/** A frame that leaves by a port. */
export interface Sent {
  readonly port: number
  readonly frame: Uint8Array
}

const KEY_BYTES = 512
const RESTARTS = 16
const JUMPS = 32

type Verdict = 'pass' | 'drop' | 'continue' | 'taken' | number

/** Bits looked at and wanted, over the whole key. */
function bytesOf(rule: Rule): { mask: Uint8Array; value: Uint8Array } {
  const mask = new Uint8Array(KEY_BYTES)
  const value = new Uint8Array(KEY_BYTES)
  for (const look of rule.looks) {
    look.mask.forEach((m, i) => {
      mask[look.at + i] |= m
      value[look.at + i] |= look.value[i] & m
    })
  }
  return { mask, value }
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')
const be16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]
const isVlan = (type: number): boolean => type === 0x8100 || type === 0x88a8
const isTagged = (frame: Uint8Array): boolean => frame.length >= 18 && isVlan(be16(frame, 12))
/** Where the network header is when a packet comes in. */
const networkOf = (frame: Uint8Array): number => (isTagged(frame) ? 18 : 14)

const TYPES: Record<string, number> = {
  ip: 0x0800,
  ipv6: 0x86dd,
  arp: 0x0806,
  mpls_uc: 0x8847,
  ppp_ses: 0x8864,
  '802.1Q': 0x8100,
  '802.1ad': 0x88a8,
}

/** A packet on its way through the filters. */
interface Packet {
  frame: Uint8Array
  network: number
  /** When it came: nanoseconds. */
  readonly time: number
  /** The tunnel that it came out of. */
  readonly outer?: Outer | undefined
  tracked?: Tracked | undefined
}

/** An average, and what its interval has counted; in 256ths of bytes a second. */
interface Average {
  value: bigint
  bytes: number
  ends: number
}
const INTERVAL = 250e6
/** Logarithms of the intervals in a second, with the fraction, and of the weight of an interval. */
const [INTERVALS, WEIGHT] = [10n, 2n]

/** A policer's bucket. */
interface Bucket {
  tokens: number
  /** Of the last packet that conformed. */
  time: number
}

export class SlowSwitch {
  /** By chain, then preference, in the order in which masks came to be; filters of a mask in theirs. */
  #rules: Installed[] = []
  /** Masks of a (chain, preference), oldest first. */
  readonly #masks = new Map<string, string[]>()
  /** How often a fork that counts was met. */
  readonly #met = new Map<Action, number>()
  readonly #buckets = new Map<Action, Bucket>()
  readonly #averages = new Map<Action, Average>()
  readonly #conntrack = new SlowConntrack()

  /** The filters behind each port that has some. */
  readonly egress = new Map<number, SlowSwitch>()
  readonly #ingress: boolean

  constructor(ingress = true) {
    this.#ingress = ingress
  }

  get rules(): readonly Installed[] {
    return this.#rules
  }

  /** Adds a rule at this time (ns); false where the kernel says that there is one like it. */
  add(rule: Rule, now: number): boolean {
    const { mask, value } = bytesOf(rule)
    const ranges = rule.ranges.map((r) => r.at).sort()
    const id = `${hex(mask)} ${ranges.join()}`
    const key = `${hex(value)} ${rule.ranges.map((r) => `${r.at}:${r.min}-${r.max}`).join()}`
    const prio = this.#rules.filter((r) => r.rule.chain === rule.chain && r.rule.pref === rule.pref)
    if (prio.some((r) => r.mask === id && r.key === key)) return false
    let handle = 1
    while (prio.some((r) => r.handle === handle)) handle++
    const place = `${rule.chain} ${rule.pref}`
    const masks = this.#masks.get(place) ?? []
    if (!masks.includes(id)) masks.push(id)
    this.#masks.set(place, masks)
    // A bucket of bytes begins full, one of packets empty.
    for (const a of rule.list) {
      if (a.kind === 'average') this.#averages.set(a, { value: 0n, bytes: 0, ends: now + INTERVAL })
      if (a.kind === 'bucket') this.#buckets.set(a, { tokens: a.perPacket > 0 ? 0 : a.burst, time: now })
    }
    this.#rules.push({ rule, handle, mask: id, key, packets: 0, bytes: 0 })
    return true
  }

  delete(gone: Installed): void {
    this.#rules = this.#rules.filter((r) => r !== gone)
    const place = `${gone.rule.chain} ${gone.rule.pref}`
    const left = this.#rules.some((r) => `${r.rule.chain} ${r.rule.pref}` === place && r.mask === gone.mask)
    if (!left)
      this.#masks.set(
        place,
        (this.#masks.get(place) ?? []).filter((m) => m !== gone.mask),
      )
  }

  /** What leaves the ports when a frame comes in, at this time, by the one with this ifindex, maybe out of a tunnel. */
  input(frame: Uint8Array, ifindex: number, time: number, outer?: Outer): Sent[] {
    const out: Sent[] = []
    this.#filter({ frame, network: networkOf(frame), time, outer }, ifindex, out)
    return out
  }

  /** Sends a packet to a port: through the filters there, if it has any. */
  #send(port: number, p: Packet, ifindex: number, out: Sent[]): void {
    const copy = { ...p, tracked: undefined }
    const behind = this.egress.get(port)
    if (behind === undefined || behind.#filter(copy, ifindex, out)) out.push({ port, frame: copy.frame })
  }

  /** Does the packet pass the filters? */
  #filter(p: Packet, ifindex: number, out: Sent[]): boolean {
    const bytes = this.#ingress ? p.frame.length - networkOf(p.frame) : p.frame.length - (isTagged(p.frame) ? 4 : 0)
    let restarts = 0
    let hit = this.#first(p, ifindex, 0, 0)
    while (hit !== undefined) {
      hit.packets++
      hit.bytes += bytes
      const verdict = this.#run(p, hit.rule.list, bytes, ifindex, out)
      if (verdict === 'continue') hit = this.#first(p, ifindex, hit.rule.chain, hit.rule.pref + 1)
      else if (typeof verdict !== 'number') return verdict === 'pass'
      else if (restarts++ < RESTARTS) hit = this.#first(p, ifindex, verdict, 0)
      else return false
    }
    return true
  }

  /** Does a list of actions (tcf_action_exec); the verdict, or the chain to go to. */
  #run(p: Packet, list: readonly Action[], bytes: number, ifindex: number, out: Sent[]): Verdict {
    let jumps = JUMPS
    for (let i = 0; i < list.length; ) {
      const a = list[i]
      let control: Control = 'pipe'
      switch (a.kind) {
        case 'end':
          return a.verdict
        case 'goto':
          return a.chain
        case 'mirred':
          this.#send(a.port, p, ifindex, out)
          if (!a.copy) return 'taken'
          break
        case 'fork':
          control = this.#isOther(a, bytes) ? a.other : a.first
          break
        case 'bucket':
          control = this.#conforms(a, bytes, p.time) ? a.first : a.other
          break
        case 'average':
          control = this.#averageOf(a, bytes, p.time) < a.limit ? a.first : a.other
          break
        case 'ct':
          p.frame = p.frame.slice(0, p.network + Math.max(be16(p.frame, p.network + 2), 0))
          p.tracked = this.#conntrack.track(p.frame, p.network, p.tracked, a)
          break
        default:
          if (!edit(p, a, this.#ingress)) return 'drop'
      }
      if (typeof control === 'number') {
        if (control > list.length || --jumps === 0) return 'pass'
        i = control
      } else if (control !== 'pipe') return control
      else i++
    }
    return 'pass'
  }

  /** Does the packet get the other control: is it the n-th, or too long? */
  #isOther(a: Action & { kind: 'fork' }, bytes: number): boolean {
    if (a.every === 0) return bytes + (this.#ingress ? 14 : 0) > a.limit
    const n = (this.#met.get(a) ?? 0) + 1
    this.#met.set(a, n)
    return n % a.every === 0
  }

  /** Bytes a second as they were when the last interval ended (gen_estimator.c); the packet counts for its own. */
  #averageOf(a: Action, bytes: number, now: number): number {
    const e = this.#averages.get(a)
    if (e === undefined) throw new Error('an average that nobody made')
    for (; e.ends <= now; e.ends += INTERVAL) {
      e.value += ((BigInt(e.bytes) << INTERVALS) >> WEIGHT) - (e.value >> WEIGHT)
      e.bytes = 0
    }
    e.bytes += bytes
    return Number(e.value >> 8n)
  }

  /** Is there enough in the bucket, filled by the time since the last packet that found enough (tcf_police_act)? */
  #conforms(a: Action & { kind: 'bucket' }, bytes: number, now: number): boolean {
    const b = this.#buckets.get(a)
    if (b === undefined) throw new Error('a bucket that nobody made')
    const tokens = Math.min(b.tokens + Math.min(now - b.time, a.burst), a.burst) - bytes * a.perByte - a.perPacket
    if (tokens < 0) return false
    b.tokens = tokens
    b.time = now
    return true
  }

  /** The first rule of a chain that matches, of those with this preference or a later one. */
  #first(p: Packet, ifindex: number, chain: number, from: number): Installed | undefined {
    const key = referenceKey(p.frame, ifindex, p.network)
    if (p.outer !== undefined) putOuter(key, p.outer)
    if (p.tracked !== undefined) putTracked(key, p.tracked)
    const prefs = [...new Set(this.#rules.filter((r) => r.rule.chain === chain).map((r) => r.rule.pref))]
    for (const pref of prefs.filter((n) => n >= from).sort((a, b) => a - b)) {
      const prio = this.#rules.filter((r) => r.rule.chain === chain && r.rule.pref === pref)
      if (!speaks(p.frame, prio[0].rule.protocol)) continue
      for (const mask of this.#masks.get(`${chain} ${pref}`) ?? []) {
        const hit = prio.find((r) => r.mask === mask && matches(r.rule, key))
        if (hit !== undefined) return hit
      }
    }
    return undefined
  }
}

/** Is the frame of the protocol that a preference is for? The outermost tag is what counts. */
function speaks(frame: Uint8Array, protocol: string): boolean {
  return protocol === 'all' || be16(frame, 12) === TYPES[protocol]
}

function putOuter(key: Uint8Array, o: Outer): void {
  const d = new DataView(key.buffer)
  d.setUint32(K.KEY_ENC_KEY_ID, o.vni)
  key.set(o.src, K.KEY_ENC_IPV4_SRC)
  key.set(o.dst, K.KEY_ENC_IPV4_DST)
  d.setUint16(K.KEY_ENC_PORT_SRC, o.sport)
  d.setUint16(K.KEY_ENC_PORT_DST, VXLAN_PORT)
  key[K.KEY_ENC_TOS] = o.tos
  key[K.KEY_ENC_TTL] = o.ttl
  key[K.KEY_ENC_ADDR_TYPE] = K.ADDR_TYPE_IPV4
}
const VXLAN_PORT = 4789

function putTracked(key: Uint8Array, t: Tracked): void {
  const d = new DataView(key.buffer)
  d.setUint16(K.KEY_CT_STATE, t.state, true)
  d.setUint16(K.KEY_CT_ZONE, t.zone, true)
  d.setUint32(K.KEY_CT_MARK, t.connection?.mark ?? t.mark, true)
}

function matches(rule: Rule, key: Uint8Array): boolean {
  for (const look of rule.looks) {
    for (let i = 0; i < look.mask.length; i++) {
      if (((key[look.at + i] ^ look.value[i]) & look.mask[i]) !== 0) return false
    }
  }
  return rule.ranges.every((r) => be16(key, r.at) >= r.min && be16(key, r.at) <= r.max)
}

/** Makes another frame of the packet's. False: the action drops it. */
function edit(p: Packet, a: Action, ingress: boolean): boolean {
  const f = p.frame
  switch (a.kind) {
    case 'vlan_push': {
      const tci = (a.prio << 13) | a.id
      const tag = [a.tpid >> 8, a.tpid & 255, tci >> 8, tci & 255]
      p.frame = Uint8Array.from([...f.slice(0, 12), ...tag, ...f.slice(12)])
      p.network += 4
      break
    }
    case 'vlan_pop':
      if (!isTagged(f)) return true
      p.frame = Uint8Array.from([...f.slice(0, 12), ...f.slice(16)])
      p.network = Math.max(p.network - 4, networkOf(p.frame))
      break
    case 'vlan_modify':
      if (!isTagged(f)) return true
      p.frame = f.slice()
      p.frame.set([0x81, 0, (f[14] & 0xf0) | (a.id >> 8), a.id & 255], 12)
      break
    case 'set': {
      const at = (a.header === 'eth' ? 0 : p.network) + a.at
      if (at + a.value.length > f.length) return true
      p.frame = f.slice()
      p.frame.set(a.value, at)
      break
    }
    case 'word': {
      const at = (a.header === 'eth' ? 0 : p.network) + a.at
      if (at + 4 > f.length) return true
      p.frame = f.slice()
      for (let i = 0; i < 4; i++) {
        const v = a.add ? f[at + i] + a.value[i] : a.value[i]
        p.frame[at + i] = (f[at + i] & a.keep[i]) | (v & ~a.keep[i])
      }
      break
    }
    case 'skbmod':
      // It asks for as many bytes as an Ethernet header has: at ingress, behind the one that the frame has.
      if (ingress && f.length - p.network < 14) return false
      p.frame = f.slice()
      if (a.swap) p.frame.set([...f.slice(6, 12), ...f.slice(0, 6)])
      if (a.dst) p.frame.set(a.dst)
      if (a.src) p.frame.set(a.src, 6)
      break
    case 'nat':
      p.frame = f.slice()
      return nat(p.frame, p.network, a)
    case 'csum': {
      p.frame = f.slice()
      const [type, at] = innermost(p)
      return csum(p.frame, at, type, a.flags)
    }
    case 'mpls_push': {
      const bottom = isMpls(innermost(p)[0]) ? 0 : 0x100
      const entry = be32(a.label * 0x1000 + a.tc * 0x200 + bottom + a.ttl)
      p.frame = Uint8Array.from([...f.slice(0, p.network - 2), 0x88, 0x47, ...entry, ...f.slice(p.network)])
      break
    }
    case 'mpls_pop':
      if (!isMpls(be16(f, p.network - 2))) return true
      if (p.network + 4 > f.length) return false
      p.frame = Uint8Array.from([...f.slice(0, p.network - 2), ...be32(a.type).slice(2), ...f.slice(p.network + 4)])
      break
    case 'mpls_modify':
    case 'mpls_dec_ttl': {
      if (!isMpls(be16(f, p.network - 2)) || p.network + 4 > f.length) return false
      const was = new DataView(f.buffer, f.byteOffset).getUint32(p.network)
      if (a.kind === 'mpls_dec_ttl' && (was & 255) === 1) return false
      const is = a.kind === 'mpls_modify' ? (was & ~a.mask) | a.value : (was & ~255) | ((was - 1) & 255)
      p.frame = f.slice()
      p.frame.set(be32(is >>> 0), p.network)
      break
    }
    default:
  }
  return true
}

const be32 = (v: number): number[] => [v >>> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255]
const isMpls = (type: number): boolean => type === 0x8847 || type === 0x8848

/** The type behind all tags, and where its header is. */
function innermost({ frame, network }: Packet): [type: number, at: number] {
  let at = network
  while (isVlan(be16(frame, at - 2)) && at + 4 <= frame.length) at += 4
  return [be16(frame, at - 2), at]
}

const [ICMP, TCP, UDP] = [1, 6, 17]

const carry = (v: number): number => (v > 0xffff ? carry((v & 0xffff) + (v >>> 16)) : v)

/** A checksum at `at` after words of `from` became those of `to` (RFC 1624). */
function renew(f: Uint8Array, at: number, from: readonly number[], to: readonly number[]): number {
  let sum = ~be16(f, at) & 0xffff
  for (let i = 0; i < from.length; i += 2) {
    sum = carry(sum + (~((from[i] << 8) | from[i + 1]) & 0xffff))
    sum = carry(sum + ((to[i] << 8) | to[i + 1]))
  }
  return ~sum & 0xffff
}

const put16 = (f: Uint8Array, at: number, v: number): void => f.set([v >> 8, v & 255], at)

/** tcf_nat_act; false: it drops the packet, because a header is cut short. */
function nat(f: Uint8Array, ip: number, a: Action & { kind: 'nat' }): boolean {
  if (ip + 20 > f.length) return false
  const at = ip + (a.egress ? 12 : 16)
  const mask = Array.from({ length: 4 }, (_, i) => (0xff00 >> Math.min(8, Math.max(0, a.bits - 8 * i))) & 255)
  const now = [...f.slice(at, at + 4)]
  const translates = now.every((b, i) => ((b ^ a.old[i]) & mask[i]) === 0)
  const to = now.map((b, i) => (a.to[i] & mask[i]) | (b & ~mask[i]))
  if (translates) {
    f.set(to, at)
    put16(f, ip + 10, renew(f, ip + 10, now, to))
  }
  const proto = f[ip + 9]
  const later = (be16(f, ip + 6) & 0x1fff) !== 0
  if (later || (!translates && proto !== ICMP)) return true
  const l4 = ip + 4 * (f[ip] & 15)
  if (l4 + (proto === TCP ? 20 : proto === UDP || proto === ICMP ? 8 : 0) > f.length) return false
  if (proto === TCP) put16(f, l4 + 16, renew(f, l4 + 16, now, to))
  if (proto === UDP && be16(f, l4 + 6) !== 0) put16(f, l4 + 6, renew(f, l4 + 6, now, to) || 0xffff)
  if (proto !== ICMP || ![3, 4, 5, 11, 12].includes(f[l4])) return true
  // The packet that an error carries went the other way.
  if (l4 + 28 > f.length) return false
  const inner = l4 + 8 + (a.egress ? 16 : 12)
  const was = [...f.slice(inner, inner + 4)]
  if (!was.every((b, i) => ((b ^ a.old[i]) & mask[i]) === 0)) return true
  const becomes = was.map((b, i) => (a.to[i] & mask[i]) | (b & ~mask[i]))
  f.set(becomes, inner)
  put16(f, l4 + 2, renew(f, l4 + 2, was, becomes))
  return true
}
