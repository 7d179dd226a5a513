// A flow's actions in words: `tunnel_key set(id 100, dst_ip 10.0.0.2)`, `redirect vxlan0`, `drop`.
//
// Made from what `tc -j filter show` says of each, so that a new kind of action has its words without a line here. What
// only control cares for (index, references) is left out.

import { kindById } from '../action/index.ts'
import type { FlowContext } from '../flow/context.ts'
import { actionOf } from '../flow/flow.ts'
import { ACT_KIND } from '../memory/layout/action.ts'
import { FLOW_NACTIONS } from '../memory/layout/flow.ts'
import type { Devices } from '../tc/args.ts'
import { Printer } from '../tc/printer.ts'
import { Builder, viewOf } from '../wire/netlink.ts'

const CONTROL_ONLY = new Set(['kind', 'mode', 'index', 'ref', 'bind', 'control_action', 'not_in_hw', 'installed'])
const builder = new Builder(4096)

/** The words of each action of a flow, in order. */
export function actionWords(c: FlowContext, flow: number, devices: Devices): string[] {
  const { m } = c.a
  return Array.from({ length: m[(flow + FLOW_NACTIONS) >> 2] }, (_, i) => words(c, actionOf(m, flow, i), devices))
}

function words(c: FlowContext, act: number, devices: Devices): string {
  const kind = kindById(c.a.m[(act + ACT_KIND) >> 2])!
  builder.begin(0, 0)
  const nest = builder.nest(1)
  kind.dump(c.actions, act, builder)
  builder.nestEnd(nest)
  const message = builder.end()
  const out = new Printer(devices, { json: true })
  out.openObject()
  // Behind the headers of the message and of the nest.
  kind.print(viewOf(message), 20, message.length, out)
  out.closeObject()
  const text = out.finish()
  try {
    return inWords(kind.name, JSON.parse(text) as Record<string, unknown>)
  } catch {
    // Where tc itself prints no JSON.
    return `${kind.name} ${text.replace(/\s+/g, ' ')}`
  }
}

function inWords(kind: string, o: Record<string, unknown>): string {
  const control = (o.control_action as { type?: string; chain?: number; jump?: number } | undefined) ?? {}
  const verdict = `${control.type ?? ''}${control.chain === undefined ? '' : ` chain ${control.chain}`}${
    control.jump === undefined ? '' : ` ${control.jump}`
  }`
  if (kind === 'mirred')
    return `${o.mirred_action} ${o.to_dev}${o.direction === 'ingress' ? ' ingress' : ''}${then(verdict)}`
  if (kind === 'gact')
    return o.random_type === undefined || o.random_type === 'none' ? verdict : `gact ${verdict} ${list(o)}`
  const mode = o.mode ?? o.vlan_action ?? o.action
  const details = list(o)
  return `${kind}${typeof mode === 'string' ? ` ${mode}` : ''}${details === '' ? '' : `(${details})`}${then(verdict)}`
}

const then = (verdict: string): string =>
  verdict === '' || verdict === 'pipe' || verdict === 'stolen' ? '' : `, ${verdict}`

function list(o: Record<string, unknown>): string {
  return Object.entries(o)
    .filter(([k, v]) => !CONTROL_ONLY.has(k) && v !== o.mode && k !== 'vlan_action' && k !== 'prob')
    .map(([k, v]) => `${k === 'key_id' ? 'id' : k} ${typeof v === 'object' ? JSON.stringify(v) : v}`)
    .join(', ')
}
