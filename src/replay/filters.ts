// filters.json: what `tc -s -j filter show` says of every hook, under the hook's name (p0-ingress, vxlan0-egress, block-22).
import { execute, type Kernel } from './execute.ts'

export interface Qdisc {
  readonly kind: string
  readonly dev: string
  readonly ingress_block?: number
  readonly egress_block?: number
}

export interface HookName {
  readonly name: string
  /** The words that name it to tc. */
  readonly words: readonly string[]
}

/** The hooks that have filters or could have. */
export const hooks = (kernel: Kernel): HookName[] => hooksOf(show(kernel, ['tc', 'qdisc', 'show']) as Qdisc[])

/** The hooks of what `tc -j qdisc show` says. */
export function hooksOf(qdiscs: readonly Qdisc[]): HookName[] {
  const found = new Map<string, string[]>()
  for (const q of qdiscs) {
    if (q.kind !== 'clsact' && q.kind !== 'ingress') continue
    for (const side of q.kind === 'clsact' ? ['egress', 'ingress'] : ['ingress']) {
      const block = side === 'ingress' ? q.ingress_block : q.egress_block
      if (block) found.set(`block-${block}`, ['block', String(block)])
      else found.set(`${q.dev}-${side}`, ['dev', q.dev, side])
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, words]) => ({ name, words }))
}

/** The document, as an object. */
export function allFilters(kernel: Kernel): Record<string, unknown> {
  const doc: Record<string, unknown> = {}
  for (const { name, words } of hooks(kernel)) doc[name] = show(kernel, ['tc', '-s', 'filter', 'show', ...words])
  return doc
}

/** What a show command says with -j. Where tc 6.1 itself prints what is no JSON, that text and why. */
function show(kernel: Kernel, words: readonly string[]): unknown {
  const text = execute(kernel, words, { json: true }).trim()
  if (text === '') return []
  try {
    return JSON.parse(text)
  } catch (e) {
    return { invalid_json: (e as Error).message, raw: text }
  }
}
