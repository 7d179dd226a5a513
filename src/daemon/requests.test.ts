// Every request that was recorded of tc 6.1 (conformance data), given to a switch through the server's border: accepted or
// refused as a kernel was seen to. Prints how many there were of each family (npm run test:requests).
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { execute } from '../replay/execute.ts'
import { receive } from '../rtnl/datagram.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { parseCommand } from '../tc/command.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitLine } from '../tc/line.ts'
import { msgType, NLMSG_ERROR, parseError, viewOf } from '../wire/netlink.ts'
import { EOPNOTSUPP } from '../wire/netlink_error.ts'

const DATA = new URL('../../../shared/conformance/tc-requests/requests.jsonl', import.meta.url)
const present = existsSync(DATA)

interface Recorded {
  readonly argv: string
  readonly nlmsgs: readonly string[]
}

interface Case {
  readonly file: string
  readonly id: string
  readonly name: string
  readonly class: string
  readonly setup: readonly Recorded[]
  readonly cmd: Recorded
}

/** Recorded lines whose verdict does not follow from their bytes. */
const NOT_JUDGED: Readonly<Record<string, string>> = {
  e739: 'tc 6.1 drops "blockid 21" from the line: the message is a plain redirect, which a kernel takes',
}

const cases = present
  ? readFileSync(DATA, 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as Case)
  : []

/** A switch with the devices that the lines name. */
function world(): Switch {
  const sw = createSwitch({
    ports: ['v0p1', 'p0', 'p1'].map((name, i) => ({ name, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
    arenaBytes: 256 * 1024 * 1024,
  })
  for (const name of ['dummy1', 'eth2']) execute(sw, ['ip', 'link', 'add', name, 'type', 'dummy'])
  return sw
}

interface Answer {
  readonly errno: number
  readonly message: string
}

/** Gives a recorded command to the switch. */
function give(sw: Switch, r: Recorded): Answer {
  let requests: readonly Uint8Array[]
  try {
    // Ours are the recorded bytes with the numbers of our devices (tc/requests.test.ts holds us to that).
    requests = parseCommand(splitLine(r.argv), sw.devices).requests
  } catch (e) {
    if (!(e instanceof LanguageError)) throw e
    requests = r.nlmsgs.map((m) => new Uint8Array(Buffer.from(m, 'hex')))
  }
  let answer: Answer = { errno: 0, message: '' }
  for (const request of requests)
    for (const reply of receive(sw, request, 4711))
      if (msgType(viewOf(reply)) === NLMSG_ERROR) answer = parseError(reply)
  return answer
}

/** It names what this project does not have. */
const isForeign = ({ errno, message }: Answer): boolean =>
  errno === EOPNOTSUPP || /^flowerbed: no |Failed to load TC action module/.test(message)

describe.skipIf(!present)('recorded requests (conformance data)', () => {
  const judged = cases.filter((c) => c.class.startsWith('to-daemon') && !(c.id in NOT_JUDGED))
  const foreign: string[] = []
  const families = new Map<string, { accepted: number; refused: number; foreign: number; wrong: number }>()

  test.each(judged.map((c) => [`${c.id} ${c.cmd.argv}`, c] as const))('%s', { timeout: 60_000 }, (_, c) => {
    const family = families.get(c.file) ?? { accepted: 0, refused: 0, foreign: 0, wrong: 0 }
    families.set(c.file, family)
    family.wrong++
    const sw = world()
    try {
      const lacking = c.setup.some((s) => isForeign(give(sw, s)))
      const answer = give(sw, c.cmd)
      const refuse = c.class === 'to-daemon must-reject'
      const isLacking = lacking || (!refuse && isForeign(answer))
      if (isLacking) foreign.push(c.cmd.argv)
      else if (refuse) expect(answer.errno).not.toBe(0)
      else expect(answer).toEqual({ errno: 0, message: '', offset: undefined })
      family.wrong--
      family[isLacking ? 'foreign' : refuse ? 'refused' : 'accepted']++
    } finally {
      sw.close()
    }
  })

  test('few of them need what this project does not have', () => {
    const row = (...cells: readonly (string | number)[]): string =>
      cells.map((c, i) => (i === 0 ? String(c).padEnd(24) : String(c).padStart(9))).join('')
    const rows = [...families].sort().map(([file, f]) => row(file, f.accepted, f.refused, f.foreign, f.wrong))
    process.stdout.write(`${[row('server', 'accepted', 'refused', 'foreign', 'wrong'), ...rows].join('\n')}\n`)
    expect(judged.length).toBeGreaterThan(190)
    expect(foreign.length, foreign.join('\n')).toBeLessThan(25)
  })
})
