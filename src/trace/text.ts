// A packet's trace as people read it: a line for where it came in, then what happened, indented, and where it ended.

import type { Lookup, Try } from './lookup.ts'
import type { PacketTrace, Step } from './trace.ts'

/** The lines of one packet. */
export function traceText(t: PacketTrace): string {
  const time = `${(t.time / 1e6).toFixed(3)} ms`
  const head = t.packet === null ? `by itself, until ${time}` : `packet ${t.packet}, ${time}: in ${t.port}: ${t.frame}`
  const shown = t.steps.filter((s, i) => !(i === 0 && s.step === 'receive'))
  return [head, ...shown.flatMap(lines).map((l) => `  ${l}`)].join('\n')
}

function lines(s: Step): string[] {
  switch (s.step) {
    case 'receive':
      return [`${s.decapsulated ? `decapsulated: up from ${s.device}` : `received by ${s.device}`}: ${s.frame}`]
    case 'hook':
      return [`${s.device} ${s.hook}`]
    case 'lookup':
      return lookup(s).map((l) => `  ${l}`)
    case 'verdict':
      return [`  verdict ${s.verdict}`]
    case 'encap':
      return [`encap: ${s.bytes} bytes of headers, towards ${s.device}`]
    case 'output':
      return [`out ${s.port}: ${s.frame}`]
    case 'host':
      return [`to the host from ${s.device}: ${s.what}${s.why === undefined ? '' : ` (${s.why})`}`]
    case 'drop':
      return [`drop ${s.name}: ${s.sentence}`]
  }
}

function lookup(l: Lookup): string[] {
  const out = l.tries.filter((t) => t.result !== 'match').map((t) => `chain ${l.chain} ${missed(t)}`)
  const { match } = l
  if (match === null) return [...out, `chain ${l.chain}: no filter matched`]
  out.push(
    `chain ${l.chain} pref ${match.pref} handle ${match.handle}: match${match.match === '' ? '' : ` (${match.match})`}`,
  )
  out.push(`  actions: ${match.actions.length === 0 ? 'none' : match.actions.join(' → ')}`)
  if (match.why !== undefined) out.push(`  slow path: ${match.why.sentence}`)
  else if (match.actions.some((a) => a.startsWith('tunnel_key set'))) out.push('  fast path')
  return out
}

function missed(t: Try): string {
  if (t.result === 'other protocol') return `pref ${t.pref}: protocol ${t.wants}, packet is ${t.has}`
  if (t.keyword === undefined) return `pref ${t.pref}: no flows`
  const nearest = (t.flows ?? 1) > 1 ? ` (the nearest of ${t.flows})` : ''
  return `pref ${t.pref} handle ${t.handle}${nearest}: ${t.keyword} ${t.wants}, packet has ${t.has}`
}
