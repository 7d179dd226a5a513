// Every action of the conformance data, all the way round: words → attributes → instance → attributes → text and JSON;
// and that what an instance took is given back.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { type Arena, createArena } from '../memory/arena.ts'
import {
  ACT_BINDCNT,
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_INDEX,
  ACT_INSTALLED,
  ACT_KIND,
  ACT_REFCNT,
  ACT_SIZE,
  TC_ACT_GOTO_CHAIN,
  TC_ACT_OK,
  TC_ACT_PIPE,
  TUN_ID,
  TUN_OPTS_LEN,
} from '../memory/layout/action.ts'
import { NETDEV_F_EXTERNAL, NETDEV_KIND_PORT, NETDEV_KIND_VXLAN } from '../memory/layout/netdev.ts'
import * as P from '../memory/layout/program.ts'
import { alloc, free, inUse, TAG_ACTION } from '../memory/pool.ts'
import { netdevByIndex, netdevByName, netdevName, netdevRegister } from '../net/netdev.ts'
import { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitLine } from '../tc/line.ts'
import { Printer } from '../tc/printer.ts'
import { Builder } from '../wire/netlink.ts'
import { EINVAL, ENODEV, ERANGE, NetlinkError, strerror } from '../wire/netlink_error.ts'
import { genIndex } from '../wire/tca_action.ts'
import type { ActionContext, ActionKind, CompileContext } from './action.ts'
import { verdictOf } from './control.ts'
import { actionKind, actionKinds, kindById, parmsOf } from './index.ts'
import { tunOf } from './tunnel_key.ts'
import { encapItems } from './ways.ts'

const data = new URL('../../../shared/conformance/tc-output/', import.meta.url)
const present = existsSync(new URL('actions/', data))

interface World {
  a: Arena
  c: ActionContext
  chains: number
}

function world(): World {
  const a = createArena({ bytes: 64 << 20, packets: 16, counters: 1024, emc: 64 })
  const w: World = {
    a,
    chains: 0,
    c: {
      a,
      now: () => 5000,
      takeChain: (index) => {
        w.chains++
        return 0x1000 + index
      },
      putChain: () => {
        w.chains--
      },
      stats: () => ({ packets: 0, bytes: 0, drops: 0, overlimits: 0, lastUsed: 0, firstUsed: 0 }),
    },
  }
  for (let i = 0; i < 10; i++) netdevRegister(a, { name: `p${i}`, kind: NETDEV_KIND_PORT, port: i })
  for (const name of ['vxlan0', 'geneve0', 'erspan0', 'gre0'])
    netdevRegister(a, { name, kind: NETDEV_KIND_VXLAN, features: NETDEV_F_EXTERNAL })
  return w
}

const w = world()
const devices = {
  indexOf: (name: string): number => {
    const dev = netdevByName(w.a, name)
    return dev === 0 ? 0 : w.a.m[(dev + 8) >> 2]
  },
  nameOf: (i: number): string => netdevName(w.a, netdevByIndex(w.a, i)),
}

/** The kind that a word begins, as tc decides: what is no kind is a verdict, or gact's complaint. */
const kindFor = (word: string): ActionKind =>
  (Number.isNaN(verdictOf(word)) ? actionKind(word) : undefined) ?? actionKind('gact')!

interface Made {
  kind: ActionKind
  act: number
}

/** An instance as the table of actions makes it, from options behind eight bytes. */
function makeFrom(kind: ActionKind, b: Builder): number {
  const { a, c } = w
  const parms = parmsOf(kind, b.d, 8, b.at)
  const act = alloc(a, ACT_SIZE, TAG_ACTION)
  a.m[(act + ACT_KIND) >> 2] = kind.id
  a.m[(act + ACT_INDEX) >> 2] = genIndex(b.d, parms) || 1
  a.m[(act + ACT_REFCNT) >> 2] = 1
  a.m[(act + ACT_BINDCNT) >> 2] = 1
  a.m[(act + ACT_INSTALLED) >> 2] = 4000
  try {
    kind.init(c, act, b.d, 8, b.at, 0)
  } catch (e) {
    free(a, act, ACT_SIZE, TAG_ACTION)
    throw e
  }
  return act
}

/** Options behind eight bytes, so that no offset is 0, which means absent. */
function options(args: Args): { kind: ActionKind; b: Builder } {
  const b = new Builder()
  b.pad(8)
  const kind = kindFor(args.word)
  kind.parse(args, b)
  return { kind, b }
}

function make1(line: string): Made {
  const { kind, b } = options(new Args(splitLine(line), devices))
  return { kind, act: makeFrom(kind, b) }
}

function unmake({ kind, act }: Made): void {
  kind.cleanup(w.c, act)
  free(w.a, act, ACT_SIZE, TAG_ACTION)
}

function shown({ kind, act }: Made, json: boolean): string {
  const b = new Builder()
  b.pad(8)
  kind.dump(w.c, act, b)
  const out = new Printer(devices, { json })
  out.openObject()
  kind.print(b.d, 8, b.at, out)
  out.closeObject()
  return out.finish()
}

/** Reads the actions of a filter's line, and what tc says between them. */
function readList(line: string): Made[] {
  const words = splitLine(line)
  const args = new Args(words, devices, words.indexOf('action'))
  const read: ReturnType<typeof options>[] = []
  while (args.more) {
    if (args.is('action')) {
      args.skip()
      continue
    }
    read.push(options(args))
    if (args.is('cookie') || args.matches('hw_stats')) args.at += 2
    if (args.is('no_percpu') || args.is('skip_hw')) args.skip()
  }
  const made: Made[] = []
  try {
    for (const { kind, b } of read) made.push({ kind, act: makeFrom(kind, b) })
  } catch (e) {
    for (const m of made) unmake(m)
    throw e
  }
  return made
}

const files = present ? readdirSync(new URL('actions/', data)).filter((f) => f.endsWith('.txt')) : []
const recorded = files
  .map((f) => [f.slice(0, -4), readFileSync(new URL(`actions/${f}`, data), 'utf8')] as const)
  .filter(([, text]) => /flower .*action /.test(text) && text.includes('----- tc filter show'))

describe.skipIf(!present)('actions as tc 6.1 and Linux 6.1 know them (conformance data)', () => {
  test.each(recorded)('%s', (name, text) => {
    const [line] = text.split('\n')
    const listing = text.split('----- tc filter show')[1].split('----- ')[0]
    const blocks = listing.split(/\taction order \d+: /).slice(1)
    const made = readList(line)
    expect(made.length).toBe(blocks.length)
    for (const [i, m] of made.entries()) {
      const index = /index (\d+)|police 0x([0-9a-f]+)/.exec(blocks[i])!
      w.a.m[(m.act + ACT_INDEX) >> 2] = index[1] ? Number(index[1]) : Number.parseInt(index[2], 16)
      const expected = blocks[i].split('\n')
      const end = expected.findIndex(
        (l, n) => n > 0 && (l === '' || /^\t(cookie|hw_stats|used_hw|no_percpu|skip_hw)/.test(l)),
      )
      expect(shown(m, false)).toBe(`${expected.slice(0, end).join('\n')}\n`)
    }
    const json = readFileSync(new URL(`actions/${name}.json`, data), 'utf8')
    let parsed: { options: { actions: Record<string, unknown>[] } }[] = []
    try {
      parsed = JSON.parse(json)
    } catch {
      expect(name).toMatch(/^(skbmod|simple)/) // the ones that tc prints as plain text
    }
    for (const [i, m] of made.entries()) {
      if (parsed.length === 0) break
      const beside = ['order', 'installed', 'last_used', 'first_used', 'stats', 'cookie', 'hw_stats', 'used_hw_stats']
      const expected = Object.entries(parsed[1].options.actions[i]).filter(
        ([k]) => !beside.includes(k) && !/^(no_percpu|skip_hw|not_in_hw|dscpset|dscperror|cpmarkset)$/.test(k),
      )
      expect(JSON.parse(shown(m, true))).toEqual(Object.fromEntries(expected))
    }
    for (const m of made) unmake(m)
  })
})

describe.skipIf(!present)('refusals of tc 6.1 (conformance data)', () => {
  const text = present ? readFileSync(new URL('errors.txt', data), 'utf8') : ''
  const cases = text
    .split(/^\$ tc /m)
    .slice(1)
    .map((c) => c.split('\n'))
    .filter(([line]) => /^filter add dev p0 ingress protocol \S+ pref 10 flower action (?!bogus)\S/.test(line))
    .filter(([line]) => !/action drop|skip_|mirred index|police index/.test(line))
  test.each(cases.map(([line, ...said]) => [line, said]))('%s', (line, said) => {
    const expected = (said as string[]).filter((l) => l.startsWith('stderr: ')).map((l) => l.slice(8))
    let message = ''
    try {
      for (const m of readList(line as string)) unmake(m)
    } catch (e) {
      if (e instanceof NetlinkError)
        message = e.message ? `Error: ${e.message}.` : `RTNETLINK answers: ${strerror(e.errno)}`
      else if (e instanceof LanguageError) {
        message = e.message
        expect(said).toContain(`[exit ${e.exitCode}]`)
      } else throw e
    }
    const lines = message.split('\n')
    expect(expected.slice(0, lines.length).join('\n')).toBe(message)
  })
})

// ---- compile

interface Op {
  op: number
  operands: number[]
}

function compiled(lines: string[], path: 'fast' | 'slow'): { ops: Op[]; made: Made[] } {
  const made = lines.map(make1)
  const ops: Op[] = []
  const c: CompileContext = {
    a: w.a,
    path,
    emit: (op, ...operands) => ops.push({ op, operands }),
    counter: () => 7,
    encapOf: (tun) => 0x2000 + made.findIndex(({ act }) => tunOf(w.a.m, act) === tun),
    tun: 0,
    next: 0,
  }
  for (const [i, { kind, act }] of made.entries()) {
    c.next = made[i + 1]?.act ?? 0
    kind.compile(c, act)
  }
  return { ops, made }
}

const KEY = 'tunnel_key set src_ip 10.0.0.1 dst_ip 10.0.0.2 id 100'

test('an encap is one op on the fast path; on the slow one the metadata and the device', () => {
  const list = [KEY, 'mirred egress redirect dev vxlan0']
  const fast = compiled(list, 'fast')
  expect(fast.ops).toEqual([{ op: P.OP_ENCAP, operands: [0x2000, 0, 7] }])
  const slow = compiled(list, 'slow')
  expect(slow.ops.map((o) => o.op)).toEqual([P.OP_TUNNEL_SET, P.OP_REDIRECT])
  const tun = slow.ops[0].operands[0]
  expect(w.a.m[(tun + TUN_ID) >> 2]).toBe(100)
  const items: number[][] = []
  const acts = Int32Array.from(slow.made, (m) => m.act)
  encapItems(w.a, acts, acts.length, (t, d) => items.push([t, d]))
  expect(items).toEqual([[tun, netdevByName(w.a, 'vxlan0')]])
  for (const m of [...fast.made, ...slow.made]) unmake(m)
})

test('a copy into a tunnel leaves the packet its metadata; several keys, several entries', () => {
  const list = [KEY, 'mirred egress mirror dev vxlan0', `${KEY} tos 4`, 'mirred egress redirect dev geneve0']
  const { ops, made } = compiled(list, 'fast')
  expect(ops.map((o) => o.op)).toEqual([P.OP_TUNNEL_SET, P.OP_ENCAP, P.OP_ENCAP])
  expect(ops[1].operands).toEqual([0x2000, P.REDIRECT_MIRROR, 7])
  expect(ops[2].operands).toEqual([0x2002, 0, 7])
  for (const m of made) unmake(m)
})

test('a port is no tunnel, and ingress is none either', () => {
  const list = [KEY, 'mirred egress mirror dev p1', 'mirred ingress redirect dev vxlan0']
  const { ops, made } = compiled(list, 'fast')
  expect(ops.map((o) => o.op)).toEqual([P.OP_TUNNEL_SET, P.OP_REDIRECT, P.OP_REDIRECT])
  expect(ops[2].operands[1]).toBe(P.REDIRECT_INGRESS)
  for (const m of made) unmake(m)
})

test('vlan ops carry the tag: type as on the wire, tci in host order', () => {
  const { ops, made } = compiled(['vlan push id 5 priority 3 protocol 802.1ad', 'vlan pop', 'vlan modify id 9'], 'fast')
  expect(ops).toEqual([
    { op: P.OP_VLAN_PUSH, operands: [0xa888, (3 << 13) | 5, 7] },
    { op: P.OP_VLAN_POP, operands: [] },
    { op: P.OP_VLAN_MODIFY, operands: [0x0081, 9, 0xfff] },
  ])
  for (const m of made) unmake(m)
})

test('pedit: one op with all its keys', () => {
  const { ops, made } = compiled(['pedit ex munge ip ttl set 3 munge udp dport add 1 pipe'], 'fast')
  expect(ops).toEqual([
    {
      op: P.OP_PEDIT,
      operands: [7, 2, 2, 8, 0x03, 0xffffff00 | 0, 0, 0, 0, 5 | P.PEDIT_ADD, 0, 0x01000000, 0x0000ffff, 0, 0, 0],
    },
  ])
  for (const m of made) unmake(m)
})

// ---- kernel halves

/** What instances take from the arena. */
const taken = (): Record<string, number | undefined> => {
  const { action, tun_info, params, police } = inUse(w.a)
  return { action, tun_info, params, police }
}

afterAll(() => expect(Object.values(taken()).filter(Boolean)).toEqual([]))

const refusal = (line: string): NetlinkError => {
  try {
    unmake(make1(line))
  } catch (e) {
    if (e instanceof NetlinkError) return e
    throw e
  }
  throw new Error(`${line}: was not refused`)
}

test('init refuses as the kernel', () => {
  expect(refusal('mirred index 4')).toMatchObject({ errno: EINVAL, message: 'act_mirred: Unknown mirred option' })
  expect(refusal('vlan push id 4095').errno).toBe(ERANGE)
  expect(refusal('police rate 1mbit burst 10k mtu 200').errno).toBe(12)
  expect(refusal('sample rate 0 group 1').message).toBe('invalid sample rate')
  expect(refusal('mpls modify label 3').message).toBe('MPLS label out of range')
  expect(refusal('pass random determ goto chain 4 5').message).toBe('goto chain not allowed on fallback')
  const { kind, b } = options(new Args(splitLine('mirred egress redirect dev p1'), devices))
  b.d.setUint32(8 + 4 + 24, 77, true)
  expect(() => makeFrom(kind, b)).toThrow(expect.objectContaining({ errno: ENODEV }))
  for (const k of actionKinds) {
    const message = k.missing ?? `${k.name}: options are missing`
    expect(() => parmsOf(k, b.d, 0, 0)).toThrow(expect.objectContaining({ errno: EINVAL, message }))
    expect(kindById(k.id)).toBe(k)
  }
})

test('goto holds its chain until the instance goes; without a filter it is refused', () => {
  const before = w.chains
  const made = make1('goto chain 42')
  expect(w.a.m[(made.act + ACT_CONTROL) >> 2]).toBe(TC_ACT_GOTO_CHAIN | 42)
  expect(w.a.m[(made.act + ACT_CHAIN) >> 2]).toBe(0x1000 + 42)
  expect(w.chains).toBe(before + 1)
  unmake(made)
  expect(w.chains).toBe(before)
  const takeChain = w.c.takeChain
  w.c.takeChain = () => 0
  const live = taken()
  for (const line of [`${KEY} goto chain 1`, 'pedit munge ip ttl set 1 goto chain 1', 'ct goto chain 1'])
    expect(refusal(line).message).toBe("can't goto NULL chain/proto")
  expect(taken()).toEqual(live)
  w.c.takeChain = takeChain
})

test('control without a word: pass for csum, nat, pedit, police; pipe for the others', () => {
  const control = (line: string): number => {
    const made = make1(line)
    const c = w.a.m[(made.act + ACT_CONTROL) >> 2]
    unmake(made)
    return c
  }
  for (const line of [
    'csum ip',
    'nat ingress 1.1.1.1 2.2.2.2',
    'pedit munge ip ttl set 1',
    'police rate 1mbit burst 10k',
  ])
    expect(control(line)).toBe(TC_ACT_OK)
  for (const line of [KEY, 'vlan pop', 'mpls dec_ttl', 'skbedit mark 1', 'skbmod swap mac', 'ct', 'simple sdata x'])
    expect(control(line)).toBe(TC_ACT_PIPE)
})

test('options of geneve stand in the metadata as in the packet', () => {
  const made = make1(`${KEY} geneve_opts 0102:80:11223344,0103:01:aabbccdd`)
  const { ops, made: again } = compiled([`${KEY} geneve_opts 0102:80:11223344,0103:01:aabbccdd`], 'slow')
  const tun = ops[0].operands[0]
  expect(w.a.u8[tun + TUN_OPTS_LEN]).toBe(16)
  expect([...w.a.u8.subarray(tun + 64, tun + 80)]).toEqual([
    1, 2, 0x80, 1, 0x11, 0x22, 0x33, 0x44, 1, 3, 1, 1, 0xaa, 0xbb, 0xcc, 0xdd,
  ])
  for (const m of [made, ...again]) unmake(m)
})

test('the datapath does every op', () => {
  // Its ops as `case`s: AssemblyScript, so read rather than imported.
  const execute = readFileSync(new URL('../datapath/chip/execute.ts', import.meta.url), 'utf8')
  const ops = Object.keys(P).filter((name) => /^OP_(?!FIRST_OTHER$)/.test(name))
  expect(ops.filter((name) => !execute.includes(`P.${name}:`))).toEqual([])
})
