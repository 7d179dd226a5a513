import { describe, expect, it } from 'vitest'
import { Builder, msgFlags, msgType, NLM_F_ACK, NLM_F_REQUEST, viewOf } from '../wire/netlink.ts'
import { EINVAL } from '../wire/netlink_error.ts'
import { RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from '../wire/rtm_neigh.ts'
import { RTM_GETACTION, RTM_NEWACTION } from '../wire/tca_action.ts'
import { RTM_GETQDISC, RTM_NEWQDISC, RTM_NEWTFILTER, TCA_INGRESS_BLOCK, TCA_KIND, tcmsg } from '../wire/tcm.ts'
import type { Devices } from './args.ts'
import { parseCommand, printReplies, refusalText } from './command.ts'
import { LanguageError } from './language_error.ts'
import { splitLine, splitScript } from './line.ts'

const devices: Devices = {
  indexOf: (n) => (n === 'p0' ? 1 : n === 'p1' ? 2 : 0),
  nameOf: (i) => ['', 'p0', 'p1'][i] ?? `if${i}`,
}
const parse = (line: string): ReturnType<typeof parseCommand> => parseCommand(splitLine(line), devices)
const types = (line: string): number[] => parse(line).requests.map((m) => msgType(viewOf(m)))
const refusal = (f: () => unknown): LanguageError => {
  try {
    f()
  } catch (e) {
    if (e instanceof LanguageError) return e
    throw e
  }
  throw new Error('was not refused')
}

describe('splitLine', () => {
  it.each([
    ['tc  filter\tadd', ['tc', 'filter', 'add']],
    ['  # only a comment', []],
    ['', []],
    ['qdisc add dev p0 # clsact', ['qdisc', 'add', 'dev', 'p0']],
    ['a#b c', ['a']],
    ['link set p0 alias "two words" up', ['link', 'set', 'p0', 'alias', 'two words', 'up']],
    ["'a b'c", ['a b', 'c']],
    ['a"b" c\r', ['a"b"', 'c']],
  ])('%j', (text, words) => expect(splitLine(text)).toEqual(words))
  it('refuses a quote without end', () => {
    const e = refusal(() => splitLine('alias "two words'))
    expect([e.message, e.exitCode]).toEqual(['Unterminated quoted string', 1])
    expect(() => splitLine('alias "two # words"')).toThrow(LanguageError)
  })
})

describe('splitScript', () => {
  it('joins continued lines and knows where they stood', () => {
    const script = 'one\n\n# no\ntwo \\\n  three \\\n four # x\nfive\\ six\n'
    expect([...splitScript(script)]).toEqual([
      { number: 1, first: 1, words: ['one'] },
      { number: 6, first: 4, words: ['two', 'three', 'four'] },
      { number: 7, first: 7, words: ['five\\', 'six'] },
    ])
  })
  it('refuses a continuation of nothing', () => {
    expect(refusal(() => [...splitScript('one \\')]).message).toBe('Missing continuation line')
  })
  it('does not continue a comment', () => {
    expect([...splitScript('one # x \\\ntwo\n')].map((l) => l.words)).toEqual([['one'], ['two']])
  })
})

describe('parseCommand', () => {
  it('takes tc or ip from the line, from the caller, or from the object', () => {
    expect(types('tc qdisc add dev p0 clsact')).toEqual([RTM_NEWQDISC])
    expect(types('qdisc add dev p0 clsact')).toEqual([RTM_NEWQDISC])
    expect(types('neigh del 10.0.0.1 dev p0')).toEqual([RTM_DELNEIGH])
    expect(parseCommand(['n', 'show'], devices, { program: 'ip' }).requests.map((m) => msgType(viewOf(m)))).toEqual([
      RTM_GETNEIGH,
    ])
  })
  it('reads options in front of the object, abbreviated or not', () => {
    const c = parse('tc -s -d -j -force filter show dev p0 ingress')
    expect(c.options).toMatchObject({ stats: 1, details: true, json: true, force: true, batch: undefined })
    expect(parse('ip -6 -stat neigh').options).toMatchObject({ family: 10, stats: 1 })
    expect(parse('tc -b rules.tc').batch).toBe('rules.tc')
    expect(refusal(() => parse('tc -netns x filter')).message).toContain('not supported')
    expect(refusal(() => parse('ip --bogus link')).message).toBe('Option "-bogus" is unknown, try "ip -help".')
  })
  it('makes a message for each command of a tc actions line', () => {
    expect(types('tc actions add action drop add action pass')).toEqual([RTM_NEWACTION, RTM_NEWACTION])
    expect(types('tc actions ls action gact')).toEqual([RTM_GETACTION])
  })
  it('asks for an ack where the program does', () => {
    const [m] = parse('tc filter add dev p0 ingress protocol ip pref 1 flower action drop').requests
    expect(msgType(viewOf(m))).toBe(RTM_NEWTFILTER)
    expect(msgFlags(viewOf(m)) & (NLM_F_REQUEST | NLM_F_ACK)).toBe(NLM_F_REQUEST | NLM_F_ACK)
  })
  it('says which word is wrong', () => {
    const e = refusal(() => parse('tc filter add dev p0 ingress protocol ip pref 1 flower dst_ip 1.2.3.4 bogus 5'))
    expect([e.word, e.exitCode, e.message.split('\n')[0]]).toEqual(['bogus', 1, 'What is "bogus"?'])
    expect(refusal(() => parse('ip link add x type vxlan id 5 bogus')).word).toBe('bogus')
    expect(refusal(() => parse('tc filter add dev nope ingress flower')).word).toBe('nope')
  })
  it('refuses by name what tc has and the switch has not', () => {
    const lines = [
      'tc qdisc add dev p0 root netem',
      'tc filter add dev p0 ingress flower action ife decode',
      'ip route add 1.1.1.1 nhid 5',
    ]
    for (const line of lines) expect(refusal(() => parse(line)).message).toMatch(/is not supported/)
  })
  it('is not confused by an empty word', () => {
    expect(refusal(() => parseCommand(['tc', 'filter', ''], devices)).message).toContain('Command "" is unknown')
    expect(refusal(() => parseCommand(['tc', ''], devices)).message).toContain('Object "" is unknown')
  })
  it('helps', () => {
    expect(parse('tc').usage).toMatch(/^Usage: tc/)
    expect(parse('ip link help').usage).toMatch(/^Usage: ip link/)
    expect(parse('ip neigh help').requests).toEqual([])
  })
})

describe('a listing of a block', () => {
  const qdisc = (block: number): Uint8Array => {
    const b = new Builder()
    b.begin(RTM_NEWQDISC, 0)
    tcmsg(b, 1, 0xffff0000, 0xfffffff1, 1)
    b.attrStr(TCA_KIND, 'ingress')
    b.attrU32(TCA_INGRESS_BLOCK, block)
    return b.end()
  }
  it('looks for the block first', () => {
    const { before } = parse('tc filter show block 22')
    expect(msgType(viewOf(before!.request))).toBe(RTM_GETQDISC)
    before!.check([qdisc(7), qdisc(22)])
    const e = refusal(() => before!.check([qdisc(7)]))
    expect([e.message, e.exitCode]).toEqual(['Cannot find block "22"', 1])
  })
  it('shows blocks in qdisc listings', () => {
    const c = parse('tc qdisc show')
    expect(printReplies(c, [qdisc(22)], devices)).toBe(
      'qdisc ingress ffff: dev p0 parent ffff:fff1 ingress_block 22 \n',
    )
    expect(JSON.parse(printReplies(c, [qdisc(22)], devices, { json: true }))).toMatchObject([{ ingress_block: 22 }])
  })
})

describe('flush', () => {
  it('deletes what the dump names and the filter wants', () => {
    const c = parse('ip neigh flush dev p0')
    const add = parse('ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev p0 nud stale').requests[0]
    const permanent = parse('ip neigh add 10.0.0.8 lladdr 02:00:00:00:00:01 dev p0 nud permanent').requests[0]
    const elsewhere = parse('ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev p1 nud stale').requests[0]
    const dels = c.then!([add, permanent, elsewhere], devices)
    expect(dels.map((m) => msgType(viewOf(m)))).toEqual([RTM_DELNEIGH])
    expect(Buffer.from(dels[0].subarray(16))).toEqual(Buffer.from(add.subarray(16)))
    expect(msgType(viewOf(add))).toBe(RTM_NEWNEIGH)
  })
})

describe('refusals of the switch', () => {
  it('are worded as the programs word them', () => {
    const filter = parse('tc filter del dev p0 ingress pref 5')
    const link = parse('ip link del p0')
    const cases: [LanguageError, string, number][] = [
      [
        refusalText(filter, EINVAL, ''),
        'RTNETLINK answers: Invalid argument\nWe have an error talking to the kernel',
        2,
      ],
      [
        refusalText(filter, EINVAL, 'Filter already exists'),
        'Error: Filter already exists.\nWe have an error talking to the kernel',
        2,
      ],
      [refusalText(link, EINVAL, 'No.'), 'Error: No.', 2],
      [
        refusalText(parse('tc actions add action drop'), EINVAL, ''),
        'RTNETLINK answers: Invalid argument\nWe have an error talking to the kernel',
        255,
      ],
    ]
    for (const [e, text, exit] of cases) expect([e.message, e.exitCode]).toEqual([text, exit])
  })
})
