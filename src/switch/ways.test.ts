// Random lists of actions that fork and jump, against the loop of tcf_action_exec read word by word: how often each
// action is met, what it drops, and whether the packet left.
import { describe, expect, test } from 'vitest'
import { execute } from '../replay/execute.ts'
import { openWorld, send, type World } from '../testing/generate.fixture.ts'
import { Luck } from '../testing/random_frames.fixture.ts'

const SMALL = 60
const LARGE = 200
const LIMIT = 100

type Control = string

/** An action that says one of two things: gact determ every `every`-th packet, police to the packets over LIMIT. */
interface Fork {
  readonly kind: 'gact' | 'police'
  readonly first: Control
  readonly other: Control
  readonly every: number
}

const words = (f: Fork): string =>
  f.kind === 'gact'
    ? `action gact ${f.first} random determ ${f.other} ${f.every}`
    : `action police mtu ${LIMIT} conform-exceed ${f.other} / ${f.first}`

const RULE = 'tc filter add dev p0 ingress protocol all pref 1 handle 1 flower'
const LAST = 'action mirred egress redirect dev p1'

/** What the kernel's loop does to packets of these sizes. */
function slow(list: readonly Fork[], sizes: readonly number[]): { met: number[]; drops: number[]; sent: number } {
  const met = new Array<number>(list.length + 1).fill(0)
  const drops = new Array<number>(list.length + 1).fill(0)
  let sent = 0
  for (const size of sizes) {
    let skip = 0
    let jumps = 32
    for (let i = 0; i <= list.length; i++) {
      if (skip-- > 0) continue
      met[i]++
      if (i === list.length) {
        sent++
        break
      }
      const f = list[i]
      const isOther = f.kind === 'gact' ? met[i] % f.every === 0 : size > LIMIT
      const control = isOther ? f.other : f.first
      if (control === 'drop' && (f.kind === 'gact' || isOther)) drops[i]++
      if (control === 'pipe') continue
      const to = /jump (\d+)/.exec(control)
      if (to === null || Number(to[1]) > list.length + 1 || --jumps === 0) break
      skip = Number(to[1])
      i = -1
    }
  }
  return { met, drops, sent }
}

interface ShownStats {
  readonly packets: number
  readonly drops: number
}

function fast(w: World, list: readonly Fork[], sizes: readonly number[]): ReturnType<typeof slow> {
  execute(w.sw, [RULE, ...list.map(words), LAST].join(' ').split(' '))
  let sent = 0
  for (const size of sizes) {
    send(w, [new Uint8Array(size).fill(2)])
    sent += w.sent.length
  }
  const shown = JSON.parse(execute(w.sw, 'tc -s -j filter show dev p0 ingress'.split(' ')))
  const stats: ShownStats[] = shown.at(-1).options.actions.map((a: { stats: ShownStats }) => a.stats)
  execute(w.sw, 'tc filter del dev p0 ingress'.split(' '))
  return { met: stats.map((s) => s.packets), drops: stats.map((s) => s.drops), sent }
}

describe('forks and jumps do what the loop does', () => {
  const w = openWorld()
  const sizes = [SMALL, LARGE, SMALL, SMALL, LARGE, LARGE, SMALL]

  test('one way goes on, the other jumps', () => {
    const list: Fork[] = [
      { kind: 'police', first: 'pipe', other: 'jump 2', every: 0 },
      { kind: 'gact', first: 'drop', other: 'drop', every: 1 },
    ]
    expect(fast(w, list, sizes)).toEqual({ met: [7, 4, 3], drops: [0, 4, 0], sent: 3 })
    expect(slow(list, sizes)).toEqual({ met: [7, 4, 3], drops: [0, 4, 0], sent: 3 })
  })

  test('thirty forks, each of which may skip the next: as many states as actions, not as ways', () => {
    const list: Fork[] = Array.from({ length: 30 }, (_, i) => ({
      kind: 'gact',
      first: 'pipe',
      other: `jump ${i + 2 > 30 ? 30 : i + 2}`,
      every: 2 + (i % 3),
    }))
    expect(fast(w, list, sizes)).toEqual(slow(list, sizes))
  })

  test.each(Array.from({ length: 60 }, (_, i) => i + 1))('list %i', (seed) => {
    const l = new Luck(seed)
    const control = (n: number): Control =>
      l.of(['pipe', 'pipe', 'pass', 'drop', `jump ${1 + l.below(n + 1)}`, `jump ${1 + l.below(n + 1)}`])
    const n = 1 + l.below(7)
    const list = Array.from({ length: n }, (): Fork => {
      const kind = l.of(['gact', 'police'] as const)
      return { kind, first: control(n), other: control(n), every: 1 + l.below(3) }
    })
    expect(fast(w, list, sizes)).toEqual(slow(list, sizes))
  })
})
