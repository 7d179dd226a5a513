// Random rules × random packets: what the switch makes of them, from tc's words to bytes on a port, against the slow one.
//
// A round: a rule set in three chains, at a port, behind another one, in a block of two ports, or at a tunnel device, packets in bursts of any size, many of them again and again so that the caches
// have something to say; in the middle some rules go and others come. What leaves must be the same, frame by frame, and
// so must what each rule counts. A round follows from its seed alone, which the error names.

import { reserve } from '../memory/arena.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { ENDPOINT, inVxlan, Luck, type Outer, randomFrame, randomOuter } from './random_frames.fixture.ts'
import { type May, type Rule, randomRule, trackingRules } from './random_rules.fixture.ts'
import { type Sent, SlowSwitch } from './slow_switch.fixture.ts'

const PORTS = 4
const CHAINS = 3
const FRAME = 2048
const BURST = 48
const FLOWS = 40

export interface World {
  readonly sw: Switch
  /** Memory for the frames of a burst. */
  readonly frames: number
  readonly sent: Sent[]
  time: number
}

export function openWorld(): World {
  const ports = Array.from({ length: PORTS }, (_, i) => ({
    name: `p${i}`,
    mac: Uint8Array.of(2, 0, 0, 0, 0, i),
    mtu: 1500,
  }))
  const sw = createSwitch({ ports, arenaBytes: 256 << 20, packets: 8192 })
  const sent: Sent[] = []
  sw.onOutput((port, address, length) => {
    sent.push({ port, frame: sw.arena.u8.slice(address, address + length) })
  })
  for (const line of SETUP) execute(sw, line.split(' '))
  return { sw, frames: reserve(sw.arena, BURST * FRAME, 64), sent, time: 1e9 }
}

const BLOCK = 7
const SETUP = [
  `ip addr add ${ENDPOINT}/24 dev p0`,
  'ip link add vx0 type vxlan external dstport 4789',
  'ip link set vx0 up',
  ...['p0', 'p1', 'vx0'].map((dev) => `tc qdisc add dev ${dev} clsact`),
  ...['p2', 'p3'].map((dev) => `tc qdisc add dev ${dev} ingress_block ${BLOCK} clsact`),
]

/** A place for filters, as tc names it, and what is there. */
interface Hook {
  readonly name: string
  readonly slow: SlowSwitch
}

/** Where a round has its filters, the ports that its frames come in by, and what its rules may do. */
interface Kind {
  readonly hooks: readonly string[]
  readonly ports: readonly number[]
  /** The frames come out of a tunnel to this device. */
  readonly tunnel?: string
  readonly may: May
}

const EDITS: May = { edit: true, track: false, outer: false }
/**
 * p1 has filters behind those of p0 in one of them. What a kernel's dissector makes there of a packet that was given a tag
 * is not for this to say.
 */
const KINDS: readonly Kind[] = [
  { hooks: ['dev p0 ingress', 'dev p1 egress'], ports: [0], may: { ...EDITS, edit: false } },
  { hooks: ['dev p0 ingress'], ports: [0], may: EDITS },
  { hooks: ['dev p0 ingress'], ports: [0], may: { ...EDITS, track: true } },
  { hooks: [`block ${BLOCK}`], ports: [2, 3], may: EDITS },
  { hooks: ['dev vx0 ingress'], ports: [0], tunnel: 'vx0', may: { ...EDITS, outer: true } },
]
/** How far bursts are apart, nanoseconds. */
const GAPS = [1000, 1000, 100_000, 2_000_000, 40_000_000, 300_000_000]
/** Longer than any connection lives without a packet. */
const REST = 300e9

/** How many rules and packets met, and how often one found the other. */
export interface Round {
  pairs: number
  hits: number
}

const text = (list: readonly Sent[]): string[] => list.map((s) => `p${s.port} ${Buffer.from(s.frame).toString('hex')}`)

/** One round. Throws when the two differ, saying how. `read`: what the slow switch takes a rule for. */
export function round(w: World, seed: number, packets: number, read = (r: Rule): Rule => r): Round {
  const l = new Luck(seed)
  const kind = KINDS[seed % KINDS.length]
  const hooks: Hook[] = kind.hooks.map((name) => ({ name, slow: new SlowSwitch(!name.endsWith('egress')) }))
  const [{ slow }] = hooks
  for (const h of hooks.slice(1)) slow.egress.set(1, h.slow)
  if (kind.may.track) w.time += REST
  const log: string[] = []
  const tc = (line: string): void => {
    log.push(line)
    execute(w.sw, line.split(' '))
  }
  const add = ({ name, slow }: Hook, r = randomRule(l, CHAINS, kind.may)): void => {
    if (name === 'dev p1 egress' && r.list.some((a) => a.kind === 'mirred' && a.port === 1)) return // it would go round
    const match = r.match === '' ? '' : ` ${r.match}`
    const line = `tc filter add ${name}${r.estimator} protocol ${r.protocol} pref ${r.pref} chain ${r.chain} flower${match} ${r.actions}`
    // Who makes rules has a clock of milliseconds.
    const wanted = slow.add(read(r), Math.floor(w.sw.now / 1e6) * 1e6)
    try {
      tc(line)
    } catch (e) {
      if (!wanted && String(e).includes('File exists')) return
      throw new Error(`seed ${seed}: ${line}: ${e}`)
    }
    if (!wanted) throw new Error(`seed ${seed}: ${line}: there is one like it`)
  }
  const change = (h: Hook): void => {
    for (const gone of h.slow.rules.filter(() => l.once(3))) {
      const { rule, handle } = gone
      h.slow.delete(gone)
      tc(
        `tc filter del ${h.name} protocol ${rule.protocol} pref ${rule.pref} chain ${rule.chain} handle ${handle} flower`,
      )
    }
    for (let n = l.below(8); n > 0; n--) add(h)
  }
  const fresh = (): Arrival => arrival(l, kind)
  const known = Array.from({ length: FLOWS }, fresh)
  if (kind.may.track) known.push(...known.map(answerTo))
  const result: Round = { pairs: 0, hits: 0 }
  if (kind.may.track) for (const r of trackingRules(l, CHAINS)) add(hooks[0], r)
  for (const h of hooks) for (let n = 2 + l.below(24); n > 0; n--) add(h)
  for (const half of [0, 1]) {
    if (half === 1) {
      for (const h of hooks) change(h)
    }
    for (let left = packets >> 1; left > 0; ) {
      const n = Math.min(left, 1 + l.below(BURST))
      const port = l.of(kind.ports)
      const dev = w.sw.devices.indexOf(kind.tunnel ?? `p${port}`)
      const arrivals = Array.from({ length: n }, () => (l.once(4) ? fresh() : l.of(known)))
      const burst = arrivals.map((a) => a.frame)
      const want = arrivals.flatMap((a) => slow.input(a.inner, dev, w.time, a.outer))
      send(w, burst, port, l.of(GAPS))
      const [a, b] = [text(w.sent), text(want)]
      if (a.join('\n') !== b.join('\n')) throw new Error(explain(seed, log, burst, a, b))
      result.pairs += n * slow.rules.length
      left -= n
    }
  }
  for (const h of hooks) {
    checkCounters(w, seed, h)
    for (const r of h.slow.rules) result.hits += r.packets
    if (h.slow.rules.length > 0) for (let chain = 0; chain < CHAINS; chain++) flush(w, h, chain)
  }
  return result
}

/** A frame as it comes in, and as the filters meet it. */
interface Arrival {
  readonly frame: Uint8Array
  readonly inner: Uint8Array
  readonly outer?: Outer
}

const P0_MAC = [2, 0, 0, 0, 0, 0]

function arrival(l: Luck, kind: Kind): Arrival {
  let inner = randomFrame(l)
  // What is tracked shall be what most are.
  for (let n = 0; kind.may.track && !isUdp(inner) && n < 30; n++) inner = randomFrame(l)
  while ((kind.may.track && isToItself(inner)) || (kind.may.outer && isCut(inner))) inner = randomFrame(l)
  if (kind.tunnel === undefined) return { frame: inner, inner }
  const outer = randomOuter(l)
  return { frame: inVxlan(inner, outer, P0_MAC), inner, outer }
}

const isUdp = (f: Uint8Array): boolean => f.length >= 42 && f[12] === 8 && f[13] === 0 && f[14] === 0x45 && f[23] === 17

/** The frame with both ends of IPv4 and of UDP exchanged. */
function answerTo(a: Arrival): Arrival {
  if (!isUdp(a.inner)) return a
  const f = a.inner.slice()
  f.set([...a.inner.slice(30, 34), ...a.inner.slice(26, 30), ...a.inner.slice(36, 38), ...a.inner.slice(34, 36)], 26)
  return { frame: f, inner: f }
}

/** Is it IPv4 with one address at both ends? Which way such a packet goes is not for this to say. */
const isToItself = (f: Uint8Array): boolean =>
  f.length >= 34 && f[12] === 8 && f[13] === 0 && f.slice(26, 30).join() === f.slice(30, 34).join()

/** Is it IP with less than a header? It does not come up from a tunnel. */
function isCut(f: Uint8Array): boolean {
  const type = f[12] * 256 + f[13]
  return (type === 0x0800 && f.length < 34) || (type === 0x86dd && f.length < 54)
}

function flush(w: World, h: Hook, chain: number): void {
  execute(w.sw, `tc filter del ${h.name} chain ${chain}`.split(' '))
}

/** The frames come in by a port, in one burst, and time passes. */
export function send(w: World, burst: readonly Uint8Array[], port = 0, gap = GAPS[0]): void {
  w.sent.length = 0
  const address = Int32Array.from(burst, (_, i) => w.frames + i * FRAME)
  burst.forEach((f, i) => {
    w.sw.arena.u8.set(f, address[i])
  })
  const length = Int32Array.from(burst, (f) => f.length)
  const time = Float64Array.from(burst, () => w.time)
  w.time += gap
  w.sw.inputBatch(port, address, length, time, burst.length)
}

/** A filter in tc's text, whose JSON not every action keeps: where it is, and what its first action counts. */
const FILTER =
  /^filter (?:block \d+ )?protocol \S+ pref (\d+) flower chain (\d+) handle (\S+) [\s\S]*?Sent (\d+) bytes (\d+) pkt/gm

function checkCounters(w: World, seed: number, { name, slow }: Hook): void {
  const shown = execute(w.sw, `tc -s filter show ${name}`.split(' '))
  const counts = new Map<string, string>()
  for (const [, pref, chain, handle, bytes, packets] of shown.matchAll(FILTER))
    counts.set(`chain ${chain} pref ${pref} handle ${handle}`, `${packets} packets, ${bytes} bytes`)
  if (counts.size !== slow.rules.length) throw new Error(`seed ${seed}: ${counts.size} filters are shown`)
  for (const r of slow.rules) {
    const at = `chain ${r.rule.chain} pref ${r.rule.pref} handle 0x${r.handle.toString(16)}`
    const [has, wants] = [counts.get(at), `${r.packets} packets, ${r.bytes} bytes`]
    if (has !== wants) throw new Error(`seed ${seed}: ${at}: ${wants}, not ${has}`)
  }
}

/** What one needs to see why. */
function explain(seed: number, log: readonly string[], burst: readonly Uint8Array[], a: string[], b: string[]): string {
  let i = 0
  while (a[i] === b[i]) i++
  return [
    `seed ${seed}: frame ${i} that left is ${a[i] ?? 'not there'}, should be ${b[i] ?? 'not there'}`,
    'rules:',
    ...log,
    'frames in:',
    ...burst.map((f) => Buffer.from(f).toString('hex')),
  ].join('\n')
}
