// The distribution's tc and ip, unmodified, through the netlink door on a daemon; our own front end beside them.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { hooksOf } from '../replay/filters.ts'
import { loadScenario, type Step } from '../replay/scenario.ts'
import { openClient } from '../rtnl/client.ts'
import { DoorError, doorEnvironment, netlinkDoor } from './door.ts'
import { FrontEnd } from './front_end.ts'
import { type DaemonProcess, folder, startProcess } from './process.fixture.ts'

/** What is missing for these tests, '' when nothing is. */
function missing(): string {
  try {
    if (!execFileSync('tc', ['-V'], { encoding: 'utf8' }).includes('iproute2-6.1')) return 'tc is not iproute2 6.1'
    execFileSync('ip', ['-V'])
  } catch {
    return 'no iproute2 (apt-get install iproute2)'
  }
  try {
    netlinkDoor()
  } catch (e) {
    if (e instanceof DoorError) return e.message
    throw e
  }
  return ''
}
const lacks = missing()
const title = lacks === '' ? 'through the door' : `through the door: skipped, ${lacks}`

interface Case {
  readonly name: string
  readonly folder: string
  /** What a kernel's `tc -s -j filter show` said of every hook. */
  readonly answer: string
}

const path = (of: string): string => fileURLToPath(new URL(`../../${of}`, import.meta.url))
const FIXTURES: readonly Case[] = readdirSync(path('fixtures/kernel')).map((name) => ({
  name,
  folder: path(`fixtures/kernel/${name}`),
  answer: path(`fixtures/kernel/${name}/expected/filters.json`),
}))
const DATA = '../shared/conformance/kernel'
const CONFORMANCE: readonly Case[] = (existsSync(path(DATA)) ? readdirSync(path(`${DATA}/cases`)) : [])
  .filter((name) => FIXTURES.every((f) => f.name !== name))
  .map((name) => ({
    name,
    folder: path(`${DATA}/cases/${name}`),
    answer: path(`${DATA}/expected/${name}/filters.json`),
  }))

const dir = folder()
let daemon: DaemonProcess | undefined
let socket = join(dir, 'nobody.sock')
afterEach(async () => {
  await daemon?.end()
  daemon = undefined
})

async function start(ports: readonly string[]): Promise<void> {
  daemon = await startProcess({ ports: ports.map((name) => ({ name })) }, '--control-workers', '1')
  socket = daemon.socket
}

interface Said {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** A program in the shell of the daemon. */
function real(program: string, ...words: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(program, words, { env: doorEnvironment(socket) }, (e, out, err) =>
      resolve({ status: e === null ? 0 : Number(e.code ?? -1), out, err }),
    )
  })
}

/** The same words through our own front end. */
async function ours(program: 'tc' | 'ip', ...words: string[]): Promise<Said> {
  const client = await openClient(socket)
  let [out, err] = ['', '']
  const io = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
    read: (path: string) => readFileSync(path, 'utf8'),
  }
  const status = await new FrontEnd(client, io).run(program, words)
  client.close()
  return { status, out, err }
}

async function both(program: 'tc' | 'ip', line: string): Promise<Said> {
  const theirs = await real(program, ...line.split(' '))
  const mine = await ours(program, ...line.split(' '))
  expect({ line, ...mine }).toEqual({ line, ...theirs })
  return theirs
}

/** A line of a batch file. */
const quoted = (words: readonly string[]): string => words.map((w) => (/[\s'"]/.test(w) ? `"${w}"` : w)).join(' ')

/** Without what depends on packets and on the time of day. */
function still(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(still)
  if (value === null || typeof value !== 'object') return value
  const moving = /^(stats|rule_hit|success|installed|last_used|first_used|ref|bind)$/
  return Object.fromEntries(Object.entries(value).flatMap(([k, v]) => (moving.test(k) ? [] : [[k, still(v)]])))
}

const untimed = (text: string): string => text.replace(/"(installed|last_used|first_used)":\d+,?/g, '')

describe.skipIf(lacks !== '')(title, { timeout: 120_000 }, () => {
  // A daemon and some programs for each case: every fourth of the fixtures here; by npm run test:door all of them, and all
  // of the conformance data where that is.
  const deep = process.env.FLOWERBED_DEEP === '1'
  const all = deep ? [...FIXTURES, ...CONFORMANCE] : FIXTURES.filter((_, i) => i % 4 === 0)

  describe.each(all.map((c) => [c.name, c] as const))('%s', (_, { folder: path, answer }) => {
    test('its lines make what the kernel made, and both programs show the same', async () => {
      const scenario = loadScenario(path)
      await start(scenario.ports)
      const timed = [...scenario.steps.filter((s) => s.moment !== null), ...scenario.after]
      await runSteps(scenario.steps.filter((s) => s.moment === null))
      const expected = JSON.parse(readFileSync(answer, 'utf8'))
      const qdiscs = JSON.parse((await ours('tc', '-j', 'qdisc', 'show')).out)
      const shown = hooksOf(qdiscs)
      if (timed.length === 0) expect(shown.map((h) => h.name)).toEqual(Object.keys(expected).sort())
      for (const hook of shown) {
        const theirs = await real('tc', '-s', '-j', 'filter', 'show', ...hook.words)
        const mine = await ours('tc', '-s', '-j', 'filter', 'show', ...hook.words)
        expect(untimed(mine.out)).toBe(untimed(theirs.out))
        if (timed.length > 0 || expected[hook.name]?.invalid_json) continue
        expect(still(JSON.parse(theirs.out.trim() || '[]'))).toEqual(still(expected[hook.name] ?? []))
      }
    })
  })

  /** Lines of one program that follow each other are a batch of it; where a refusal is a result, each line is its own. */
  async function runSteps(steps: readonly Step[]): Promise<void> {
    let batch: Step[] = []
    const programOf = (s: Step): string => (s.words[0] === 'ip' ? 'ip' : 'tc')
    const wordsOf = (s: Step): readonly string[] => s.words.slice(/^(ip|tc)$/.test(s.words[0]) ? 1 : 0)
    const runBatch = async (): Promise<void> => {
      if (batch.length === 0) return
      const file = join(dir, 'steps')
      writeFileSync(file, batch.map((s) => `${quoted(wordsOf(s))}\n`).join(''))
      const said = await real(programOf(batch[0]), '-b', file)
      expect({ where: batch.map((s) => s.where), ...said }).toMatchObject({ status: 0 })
      batch = []
    }
    for (const step of steps) {
      const alone = step.forgiving || wordsOf(step)[0].startsWith('-')
      if (alone || (batch.length > 0 && programOf(batch[0]) !== programOf(step))) await runBatch()
      if (!alone) batch.push(step)
      else {
        const said = await real(programOf(step), ...wordsOf(step))
        if (!step.forgiving) expect({ where: step.where, ...said }).toMatchObject({ status: 0 })
      }
    }
    await runBatch()
  }

  test('shows and refusals are the same in both', async () => {
    await start(['p0', 'p1'])
    for (const line of ['qdisc add dev p0 clsact', 'actions add action gact drop index 7'])
      expect(await real('tc', ...line.split(' '))).toEqual({ status: 0, out: '', err: '' })
    expect((await real('ip', ...'addr add 10.0.0.1/24 dev p1'.split(' '))).status).toBe(0)
    await both('tc', 'qdisc show')
    await both('tc', 'qdisc show dev p0')
    await both('tc', 'actions list action gact')
    await both('ip', 'link show')
    await both('ip', '-d -j link show dev p1')
    await both('ip', 'addr show')
    await both('ip', 'route show')
    await both('ip', '-6 route show table all')
    await both('ip', 'neigh show')
    await both('ip', '-s link show dev p0')
    expect(await both('tc', 'filter show dev nowhere ingress')).toMatchObject({ status: 1 })
    expect(await both('tc', 'qdisc del dev p1 clsact')).toMatchObject({ status: 2 })
    expect(await both('tc', 'qdisc add dev p0 clsact')).toMatchObject({ status: 2 })
    expect(await both('ip', 'route add 20.0.0.0/8 via 99.0.0.1')).toMatchObject({ status: 2 })
    expect(await both('ip', 'link del p0')).toMatchObject({ status: 2 })
  })

  test('batches: the first bad line ends one, unless forced', async () => {
    await start(['p0'])
    const file = join(dir, 'batch.tc')
    const rule = (pref: number): string => `filter add dev p0 ingress protocol ip pref ${pref} flower action drop\n`
    writeFileSync(file, `qdisc add dev p0 clsact\n# a comment\n${rule(1)}${rule(1)}${rule(2)}`)
    const shown = async (): Promise<string> => (await real('tc', 'filter', 'show', 'dev', 'p0', 'ingress')).out
    const first = await real('tc', '-b', file)
    expect(first.status).toBe(1)
    expect(await shown()).not.toContain('pref 2 ')
    await real('tc', 'qdisc', 'del', 'dev', 'p0', 'clsact')
    expect(await ours('tc', '-b', file)).toEqual(first)
    expect(await shown()).not.toContain('pref 2 ')
    await real('tc', 'qdisc', 'del', 'dev', 'p0', 'clsact')
    const forced = await real('tc', '-force', '-b', file)
    expect(forced.status).toBe(1)
    expect(await shown()).toContain('pref 2 ')
    await real('tc', 'qdisc', 'del', 'dev', 'p0', 'clsact')
    expect(await ours('tc', '-force', '-b', file)).toEqual(forced)
    expect(await shown()).toContain('pref 2 ')
  })

  test('tc monitor and ip monitor hear what others change', async () => {
    await start(['p0', 'p1'])
    const heard = { tc: '', ip: '' }
    const children = (['tc', 'ip'] as const).map((program) => {
      const child = spawn(program, ['monitor'], { env: doorEnvironment(socket), stdio: ['ignore', 'pipe', 'inherit'] })
      child.stdout.on('data', (text) => {
        heard[program] += text
      })
      return child
    })
    try {
      // They have joined their groups when they hear of what does not matter.
      const knock = async (): Promise<boolean> => {
        await real('tc', 'qdisc', 'add', 'dev', 'p1', 'clsact')
        await real('tc', 'qdisc', 'del', 'dev', 'p1', 'clsact')
        await real('ip', ...'link set p0 mtu 1400'.split(' '))
        await real('ip', ...'link set p0 mtu 1500'.split(' '))
        return heard.tc !== '' && heard.ip !== ''
      }
      await expect.poll(knock, { timeout: 30_000 }).toBe(true)
      await real('tc', 'qdisc', 'add', 'dev', 'p0', 'clsact')
      await real('tc', ...'filter add dev p0 ingress protocol ip pref 3 flower dst_ip 1.2.3.4 action drop'.split(' '))
      await real('tc', ...'filter del dev p0 ingress protocol ip pref 3'.split(' '))
      await real('ip', ...'addr add 10.0.0.1/24 dev p1'.split(' '))
      await real('ip', ...'neigh add 10.0.0.2 lladdr 02:11:22:33:44:55 dev p1'.split(' '))
      await real('ip', ...'route add 20.0.0.0/8 via 10.0.0.2'.split(' '))
      await real('ip', ...'link set p1 mtu 1400'.split(' '))
      await expect.poll(() => heard.tc, { timeout: 10_000 }).toMatch(/added filter dev p0 ingress .*pref 3.*deleted/s)
      await expect.poll(() => heard.ip, { timeout: 10_000 }).toMatch(/p1: .* mtu 1400/)
      expect(heard.tc).toMatch(/^qdisc clsact ffff: dev p0/m)
      expect(heard.ip).toContain('10.0.0.2 dev p1 lladdr 02:11:22:33:44:55 PERMANENT')
      expect(heard.ip).toContain('20.0.0.0/8 via 10.0.0.2 dev p1')
      expect(heard.ip).toContain('inet 10.0.0.1/24')
    } finally {
      for (const child of children) child.kill()
    }
  })

  test('what the library makes of a socket (python3)', async (t) => {
    if ((await new Promise<number>((r) => execFile('python3', ['-V'], (e) => r(e === null ? 0 : 1)))) !== 0)
      t.skip('no python3')
    await start(['p0'])
    const script = fileURLToPath(new URL('./shell/netlink_door.test.py', import.meta.url))
    expect(await real('python3', script)).toEqual({ status: 0, out: 'ok\n', err: '' })
  })

  test('no daemon: a message that says so, and the program’s own', async () => {
    const said = await real('tc', 'qdisc', 'show')
    expect(said.status).not.toBe(0)
    expect(said.err).toContain(`flowerbed: no daemon answers at ${socket}`)
  })
})

test('no compiler: said, with what to do', () => {
  const before = { ...process.env }
  process.env.CC = 'no-such-compiler'
  process.env.XDG_CACHE_HOME = join(dir, 'cache')
  try {
    expect(() => netlinkDoor()).toThrow(/no C compiler \(no-such-compiler\).*install gcc or clang/)
  } finally {
    process.env = before
    rmSync(join(dir, 'cache'), { recursive: true })
  }
})
