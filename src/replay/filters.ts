// filters.json: what `tc -s -j filter show` says of every hook, under the hook's name (p0-ingress, vxlan0-egress, block-22).
import { execute, type Kernel } from './execute.ts'

interface Qdisc {
  readonly kind: string
  readonly dev: string
  readonly ingress_block?: number
  readonly egress_block?: number
}

/** The hooks that have filters or could have: name, and the words that name it to tc. */
export function hooks(kernel: Kernel): { name: string; words: string[] }[] {
  const found = new Map<string, string[]>()
  for (const q of show(kernel, ['tc', 'qdisc', 'show']) as Qdisc[]) {
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
