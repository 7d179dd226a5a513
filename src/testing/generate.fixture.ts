// Random rules × random packets: what the switch makes of them, from tc's words to bytes on a port, against the slow one.
//
// A round: a rule set in three chains, packets in bursts of any size, many of them again and again so that the caches
// have something to say; in the middle some rules go and others come. What leaves must be the same, frame by frame, and
// so must what each rule counts. A round follows from its seed alone, which the error names.

import { reserve } from '../memory/arena.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { Luck, randomFrame } from './random_frames.fixture.ts'
import { randomRule } from './random_rules.fixture.ts'
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
  for (const dev of ['p0', 'p1']) execute(sw, `tc qdisc add dev ${dev} clsact`.split(' '))
  return { sw, frames: reserve(sw.arena, BURST * FRAME, 64), sent, time: 1e9 }
}

/** A place for filters, as tc names it, and what is there. */
interface Hook {
  readonly name: 'p0 ingress' | 'p1 egress'
  readonly slow: SlowSwitch
}

/** How many rules and packets met, and how often one found the other. */
export interface Round {
  pairs: number
  hits: number
}

const text = (list: readonly Sent[]): string[] => list.map((s) => `p${s.port} ${Buffer.from(s.frame).toString('hex')}`)

/** One round. Throws when the two differ, saying how. */
export function round(w: World, seed: number, packets: number): Round {
  const l = new Luck(seed)
  const slow = new SlowSwitch()
  // In every other round p1 has filters too, behind those of p0. What a kernel's dissector makes of a packet that was given
  // a tag is not for this to say.
  const hooks: Hook[] = [{ name: 'p0 ingress', slow }]
  if (seed % 2 === 0) hooks.push({ name: 'p1 egress', slow: new SlowSwitch(false) })
  for (const h of hooks.slice(1)) slow.egress.set(1, h.slow)
  const log: string[] = []
  const tc = (line: string): void => {
    log.push(line)
    execute(w.sw, line.split(' '))
  }
  const add = ({ name, slow }: Hook): void => {
    const r = randomRule(l, CHAINS, hooks.length === 1)
    if (name === 'p1 egress' && r.list.some((a) => a.kind === 'mirred' && a.port === 1)) return // it would go round
    const match = r.match === '' ? '' : ` ${r.match}`
    const line = `tc filter add dev ${name} protocol ${r.protocol} pref ${r.pref} chain ${r.chain} flower${match} ${r.actions}`
    const wanted = slow.add(r)
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
        `tc filter del dev ${h.name} protocol ${rule.protocol} pref ${rule.pref} chain ${rule.chain} handle ${handle} flower`,
      )
    }
    for (let n = l.below(8); n > 0; n--) add(h)
  }
  const known = Array.from({ length: FLOWS }, () => randomFrame(l))
  const result: Round = { pairs: 0, hits: 0 }
  for (const h of hooks) for (let n = 2 + l.below(24); n > 0; n--) add(h)
  for (const half of [0, 1]) {
    if (half === 1) {
      for (const h of hooks) change(h)
    }
    for (let left = packets >> 1; left > 0; ) {
      const n = Math.min(left, 1 + l.below(BURST))
      const burst = Array.from({ length: n }, () => (l.once(4) ? randomFrame(l) : l.of(known)))
      const want = burst.flatMap((f) => slow.input(f, w.sw.devices.indexOf('p0')))
      send(w, burst)
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

function flush(w: World, h: Hook, chain: number): void {
  execute(w.sw, `tc filter del dev ${h.name} chain ${chain}`.split(' '))
}

/** The frames come in by p0, in one burst. */
export function send(w: World, burst: readonly Uint8Array[]): void {
  w.sent.length = 0
  const address = Int32Array.from(burst, (_, i) => w.frames + i * FRAME)
  burst.forEach((f, i) => {
    w.sw.arena.u8.set(f, address[i])
  })
  const length = Int32Array.from(burst, (f) => f.length)
  const time = Float64Array.from(burst, () => w.time)
  w.time += 1000
  w.sw.inputBatch(0, address, length, time, burst.length)
}

/** A filter in tc's text, whose JSON not every action keeps: where it is, and what its first action counts. */
const FILTER = /^filter protocol \S+ pref (\d+) flower chain (\d+) handle (\S+) [\s\S]*?Sent (\d+) bytes (\d+) pkt/gm

function checkCounters(w: World, seed: number, { name, slow }: Hook): void {
  const shown = execute(w.sw, `tc -s filter show dev ${name}`.split(' '))
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
