// Matches of a shape that was met before: key, mask and flags are those that reading the options gives.
import { expect, test } from 'vitest'
import { flowKey } from '../match/index.ts'
import { type KeyDevices, keyExtra } from '../match/match.ts'
import { type Devices, parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { attrLen, msgLen, parseAttrs, viewOf } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { KnownKeys } from './known_keys.ts'
import { clearScratch, matchScratch, pack } from './match_scratch.ts'

const devices: Devices = { indexOf: () => 3, nameOf: (i) => `p${i}` }
const keyDevices: KeyDevices = { indexOf: () => 3, nameOf: (i) => `p${i}` }
const tca = new Int32Array(Tcm.TCA_EXT_WARN_MSG + 1)

/** The request of a rule, and where its options begin and end. */
function request(words: string, protocol = 'ip'): { d: DataView; o: number; end: number } {
  const line = `tc filter add dev p0 ingress protocol ${protocol} pref 10 flower ${words}`
  const d = viewOf(parseCommand(splitLine(line), devices).requests[0].slice())
  parseAttrs(d, Tcm.TCMSG_ATTRS, msgLen(d), tca, Tcm.TCA_EXT_WARN_MSG)
  const o = tca[Tcm.TCA_OPTIONS]
  return { d, o, end: o + attrLen(d, o) }
}

/** What the options come to when they are read. */
function readAnew({ d, o, end }: ReturnType<typeof request>) {
  const s = matchScratch()
  const extra = keyExtra(keyDevices)
  clearScratch(s)
  flowKey(d, o, end, s.key, s.mask, extra)
  pack(s)
  return { s, extra }
}

/** Whether the last of these rules was known; each that was is compared with what it comes to anew. */
function meets(rule: (i: number) => string, protocol?: string, many = 24): boolean {
  const known = new KnownKeys(keyDevices)
  let last = false
  for (let i = 1; i <= many; i++) {
    const r = request(rule(i), protocol)
    const { s, extra } = readAnew(r)
    const k = known.recall(r.d, r.o, r.end)
    last = k !== undefined
    if (k === undefined) known.meet(r.d, r.o, r.end, extra.act)
    else {
      const { match } = k
      expect([k.flags, k.classid, k.head + k.tail === r.end - r.o ? 0 : r.o + k.head + 4]).toEqual([
        extra.flags,
        extra.classid,
        extra.act,
      ])
      for (const field of ['key', 'mask', 'count', 'hash', 'maskHash', 'groups', 'rawCount'] as const)
        expect(match[field], field).toEqual(s[field])
      for (const field of ['words', 'offsets', 'bits'] as const)
        expect(match[field].subarray(0, s.count), field).toEqual(s[field].subarray(0, s.count))
      expect(match.raw.subarray(0, 2 * s.rawCount)).toEqual(s.raw.subarray(0, 2 * s.rawCount))
    }
  }
  return last
}

const DROP = 'action drop'

test.each([
  [
    'addresses and ports',
    (i: number) => `ip_proto udp src_ip 10.0.${i}.7 dst_ip 11.0.0.${i} src_port ${i} dst_port 4000`,
  ],
  ['MACs', (i: number) => `src_mac 02:00:00:00:00:${i + 10} dst_mac 02:01:00:00:${i + 10}:ff`],
  ['a net beside an address', (i: number) => `src_ip 10.0.1.7/24 dst_ip 11.0.0.${i}`],
  [
    'a tunnel',
    (i: number) => `enc_key_id ${i} enc_src_ip 1.1.1.${i} enc_dst_ip 2.2.2.2 enc_dst_port 4789 dst_ip 3.3.3.${i}`,
  ],
  ['flags and a class', (i: number) => `classid 1:${i % 1 === 0 ? 5 : 0} skip_hw dst_ip 11.0.0.${i}`],
])('%s: of a known shape', (_, rule) => {
  expect(meets((i) => `${rule(i)} ${DROP}`)).toBe(true)
  expect(meets(rule)).toBe(true) // without actions
})

test('IPv6', () => {
  expect(meets((i) => `ip_proto tcp src_ip 2001:db8::${i} dst_ip 2001:db8:${i}::1 dst_port ${i} ${DROP}`, 'ipv6')).toBe(
    true,
  )
})

test('the actions may be others', () => {
  const lists = [DROP, 'action mirred egress redirect dev p1', 'action vlan push id 5 action pass']
  expect(meets((i) => `dst_ip 11.0.0.${i} ${lists[i % 3]}`)).toBe(true)
})

test.each([
  ['the protocol', (i: number) => `ip_proto ${['udp', 'tcp', 'sctp'][i % 3]} dst_ip 1.1.1.${i}`],
  ['a net', (i: number) => `dst_ip 10.${i}.0.9/16`],
  ['a prefix', (i: number) => `dst_ip 1.1.1.1/${8 + (i % 20)}`],
  ['a range', (i: number) => `ip_proto udp dst_port 5-${100 + i}`],
  ['a VLAN', (i: number) => `vlan_id ${i}`],
  ['a device', (i: number) => `indev p0 dst_ip 1.1.1.${i}`],
])('%s is no value: what is known is right all the same', (_, rule) => {
  meets((i) => `${rule(i)} ${DROP}`, rule(1).startsWith('vlan') ? '802.1q' : 'ip', 60)
})

test('a device, ranges and nets alone are read every time', () => {
  for (const words of ['indev p0 dst_ip 1.1.1.1', 'ip_proto udp dst_port 5-100', 'dst_ip 10.0.0.0/8'])
    expect(meets(() => `${words} ${DROP}`)).toBe(false)
})

test('options that are cut short are not of the shape', () => {
  const known = new KnownKeys(keyDevices)
  const at = (i: number) => request(`src_ip 10.0.0.${i} dst_ip 11.0.0.${i} ${DROP}`)
  for (let i = 1; i <= 16; i++) known.meet(at(i).d, at(i).o, at(i).end, readAnew(at(i)).extra.act)
  const { d, o, end } = at(17)
  const act = readAnew({ d, o, end }).extra.act
  expect(known.recall(d, o, end)).toBeDefined()
  for (let e = o; e < end; e++) expect(known.recall(d, o, e), `cut at ${e - o}`).toBeUndefined()
  d.setUint16(act - 4, 0xffff, true)
  expect(known.recall(d, o, end)).toBeUndefined()
})
