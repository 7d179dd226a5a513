// The daemon on its journal: killed and started again it shows the same, to the byte; damage, other ports and torn ends.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { FrontEnd } from './front_end.ts'
import { kill9 } from './kill9.stress.ts'
import { type DaemonProcess, refusedProcess, startProcess } from './process.fixture.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-journalled-'))
afterAll(() => rmSync(dir, { recursive: true }))
const slow = { timeout: 600_000 }
let files = 0
const newPath = (): string => join(dir, String(++files), 'journal.pcap')
const config = (path: string, more: object = {}) => ({
  ports: [{ name: 'p0' }, { name: 'p1' }],

  journal: { path },
  ...more,
})

async function ask(daemon: DaemonProcess, ...lines: string[]): Promise<string> {
  const client = await openClient(daemon.socket)
  let out = ''
  const say = (text: string): void => {
    out += text
  }
  const io = { out: say, err: say, read: () => '' }
  const frontEnd = new FrontEnd(client, io)
  for (const line of lines) {
    const [program, ...words] = line.split(' ')
    if ((await frontEnd.run(program as 'tc' | 'ip', words)) !== 0) expect.fail(`${line}: ${out}`)
  }
  client.close()
  return out
}

const SETUP = [
  'ip link add vxlan0 type vxlan external dstport 4789',
  'ip link set vxlan0 up',
  'ip addr add 10.0.0.1/24 dev p1',
  'ip neigh add 10.0.0.2 lladdr 02:11:22:33:44:55 dev p1 nud permanent',
  'tc qdisc add dev p0 clsact',
  'tc filter add dev p0 ingress protocol ip flower dst_ip 10.1.0.0/16 action drop',
  'tc filter add dev p0 ingress protocol ip pref 5 flower src_ip 10.2.0.0/16 action police rate 1mbit burst 10k',
  'tc filter add dev p0 ingress protocol 802.1q pref 7 flower vlan_id 10 action vlan pop action mirred egress redirect dev p1',
  'tc filter add dev p0 ingress protocol ip pref 5 flower dst_ip 10.0.0.0/8 action tunnel_key set src_ip 10.0.0.1 dst_ip 10.0.0.2 id 7 action mirred egress redirect dev vxlan0',
  'tc filter del dev p0 ingress protocol ip pref 49152 handle 1 flower',
]
const SHOW = [
  'tc filter show dev p0 ingress',
  'tc qdisc show',
  'ip -d link show',
  'ip addr show',
  'ip route show table all',
  'ip neigh show',
]

test('killed and started again: the same, and again the same from a snapshot', slow, async () => {
  const path = newPath()
  let daemon = await startProcess(config(path))
  await ask(daemon, ...SETUP)
  const before = await ask(daemon, ...SHOW)
  expect(before).toMatch(/police/)
  for (let i = 0; i < 2; i++) {
    daemon.process.kill('SIGKILL')
    await daemon.end()
    daemon = await startProcess(config(path))
    expect(await ask(daemon, ...SHOW)).toBe(before)
  }
  // Numbers go on where they were.
  await ask(daemon, 'tc filter add dev p0 ingress protocol ip pref 5 flower dst_ip 1.2.3.4 action drop')
  expect(await daemon.end()).toBe(0)
  // The end is torn: cut, and said.
  appendFileSync(path, readFileSync(path).subarray(24, 60))
  daemon = await startProcess(config(path))
  expect(daemon.log).toMatch(/the end of the journal was never finished, and is cut/)
  expect(await ask(daemon, 'tc filter show dev p0 ingress pref 5')).toMatch(/handle 0x1 .*handle 0x2 .*handle 0x3 /s)
  await daemon.end()
  // Damage is refused, with its place.
  const whole = readFileSync(path)
  const damaged = Buffer.from(whole)
  damaged[whole.length >> 1] ^= 1
  writeFileSync(path, damaged)
  const refused = await refusedProcess(config(path))
  expect(refused.status).toBe(1)
  expect(refused.log).toMatch(/journal\.pcap: damaged at byte \d+: the record is not sound/)
  expect(readFileSync(path)).toEqual(damaged)
})

test('other ports: those of the journal must be there; new ones disturb nothing', slow, async () => {
  const path = newPath()
  let daemon = await startProcess(config(path))
  await ask(daemon, ...SETUP)
  const before = await ask(daemon, 'tc filter show dev p0 ingress')
  await daemon.end()
  daemon = await startProcess(config(path, { ports: [{ name: 'new' }, { name: 'p1' }, { name: 'p0' }] }))
  expect(await ask(daemon, 'tc filter show dev p0 ingress')).toBe(before)
  await daemon.end()
  const refused = await refusedProcess(config(path, { ports: [{ name: 'p0' }] }))
  expect(refused.status).toBe(2)
  expect(refused.log).toMatch(/it has rules of the port p1, which the configuration has no more/)
})

test('start-up scripts are for the first start', slow, async () => {
  const path = newPath()
  writeFileSync(join(dir, 'rules.tc'), 'qdisc add dev p0 clsact\n')
  const scripted = config(path, { scripts: [join(dir, 'rules.tc')] })
  let daemon = await startProcess(scripted)
  await daemon.end()
  daemon = await startProcess(scripted)
  expect(await ask(daemon, 'tc qdisc show dev p0')).toContain('clsact')
  expect(await daemon.end()).toBe(0)
  expect(existsSync(`${path}.new`)).toBe(false)
})

test('kill -9 under load: nothing acknowledged is lost, nothing invented', slow, async () => {
  const result = await kill9(3)
  expect(result.wrong).toEqual([])
  expect(result.acknowledged).toBeGreaterThan(20)
})
