// A world of real interfaces around a daemon: namespace A ↔ flowerbed in F ↔ namespace B, whose VXLAN endpoint is the
// kernel's own device. For tests and the soak.
//
//   A  a0 10.0.0.1, 10.0.6.1 ── p0 [ F ] p1 ── b0 192.168.77.2, fd77::2  B  vx4 10.0.0.2, vx6 10.0.6.2

import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeNamespace, type Namespace, removeNamespaces, veth } from './netns.fixture.ts'
import { said } from './process.fixture.ts'

const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))

const SETUP = `
ip addr add 192.168.77.1/24 dev p1
ip addr add fd77::1/64 dev p1
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc qdisc add dev vxlan0 clsact
tc filter add dev p0 ingress prio 1 protocol ip flower dst_ip 10.0.6.0/24 action tunnel_key set id 6 src_ip fd77::1 dst_ip fd77::2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev p0 ingress prio 2 protocol arp flower arp_tip 10.0.6.0/24 action tunnel_key set id 6 src_ip fd77::1 dst_ip fd77::2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev p0 ingress prio 9 protocol all flower action tunnel_key set id 4 src_ip 192.168.77.1 dst_ip 192.168.77.2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev vxlan0 ingress prio 1 protocol all flower enc_key_id 4 action tunnel_key unset action mirred egress redirect dev p0
tc filter add dev vxlan0 ingress prio 2 protocol all flower enc_key_id 6 action tunnel_key unset action mirred egress redirect dev p0
`

/** A server that says what it got, and a client that sends so many bytes in writes of a size; both print a hash. */
const SERVER = `
const { createHash } = require('node:crypto')
require('node:net').createServer((s) => {
  const h = createHash('sha256'); let n = 0
  s.on('data', (d) => { h.update(d); n += d.length })
  s.on('end', () => s.end(n + ' ' + h.digest('hex')))
}).listen(Number(process.argv[1]), '0.0.0.0', () => console.log('listening'))`
const CLIENT = `
const { createHash, randomBytes } = require('node:crypto')
const [host, port, size, total] = process.argv.slice(1)
const h = createHash('sha256'); let left = Number(total); let said = ''
const s = require('node:net').connect({ host, port, noDelay: true }, () => {
  const write = () => {
    while (left > 0) {
      const d = randomBytes(Math.min(left, Number(size)))
      h.update(d); left -= d.length
      if (!s.write(d)) return s.once('drain', write)
    }
    s.end()
  }
  write()
})
s.on('data', (d) => { said += d })
s.on('end', () => console.log(said === total + ' ' + h.digest('hex') ? 'same' : 'different: ' + said))
s.on('error', (e) => { console.log(e.message); process.exit(1) })`

export interface LiveWorld {
  readonly a: Namespace
  readonly f: Namespace
  readonly b: Namespace
  readonly daemon: ChildProcess
  readonly log: () => string
  readonly dir: string
}

/** A0 and B0 are the access and the uplink veth ends in F; the ports are made of them as the driver needs it. */
export async function makeLiveWorld(driver: string, options: object, underlay = driver): Promise<LiveWorld> {
  const a = makeNamespace('a')
  const f = makeNamespace('f')
  const b = makeNamespace('b')
  const isTap = driver === 'tap'
  // Nobody but the switch speaks on the ports.
  f.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
  veth(a, 'a0', f, isTap ? 'v0' : 'p0')
  veth(b, 'b0', f, isTap ? 'v1' : 'p1', 1600)
  a.ip('addr add 10.0.0.1/24 dev a0')
  a.ip('addr add 10.0.6.1/24 dev a0')
  b.ip('addr add 192.168.77.2/24 dev b0')
  b.ip('addr add fd77::2/64 dev b0')
  b.ip('link add vx4 mtu 1500 type vxlan id 4 local 192.168.77.2 remote 192.168.77.1 dstport 4789')
  b.ip('link add vx6 mtu 1500 type vxlan id 6 local fd77::2 remote fd77::1 dstport 4789')
  b.ip('addr add 10.0.0.2/24 dev vx4')
  b.ip('addr add 10.0.6.2/24 dev vx6')
  for (const d of ['vx4', 'vx6']) b.ip(`link set ${d} up`)
  if (isTap) {
    // A tap's other end is the kernel of F: a bridge leads on from there.
    for (const i of [0, 1]) {
      f.ip(`link add br${i} mtu ${i === 0 ? 1500 : 1600} type bridge`)
      f.ip(`link set v${i} master br${i}`)
      f.ip(`link set br${i} up`)
    }
  }
  const isRaw = underlay === 'raw_ip'
  if (isRaw) {
    // The kernel of F has the address too; nobody segments behind a raw socket.
    f.ip('addr add 192.168.77.1/24 dev p1')
    b.run('ethtool', '-K', 'vx4', 'tso', 'off', 'gso', 'off')
    b.run('ethtool', '-K', 'b0', 'tso', 'off', 'gso', 'off', 'tx-udp_tnl-segmentation', 'off')
  }
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-interop-'))
  writeFileSync(join(dir, 'setup.tc'), SETUP)
  const config = {
    socket: join(dir, 'rtnl.sock'),
    ports: [
      { name: 'p0', driver, role: 'access', ...options },
      isRaw
        ? { name: 'p1', driver: underlay, mtu: 1600 }
        : { name: 'p1', driver, role: 'uplink', neigh: 'own', mtu: 1600, ...options },
    ],
    scripts: ['setup.tc'],
  }
  writeFileSync(join(dir, 'c.yaml'), JSON.stringify(config))
  const daemon = f.start(process.execPath, command, 'run', '--config', join(dir, 'c.yaml'))
  const heard = await said(daemon)
  if (isTap) for (const i of [0, 1]) f.ip(`link set p${i} master br${i}`)
  return { a, f, b, daemon, log: () => heard.text, dir }
}

export async function transfer(
  from: Namespace,
  to: Namespace,
  host: string,
  size: number,
  total: number,
): Promise<string> {
  const port = 5000 + Math.floor(Math.random() * 20000)
  const server = to.start(process.execPath, '-e', SERVER, String(port))
  try {
    await new Promise<void>((resolve) => server.stdout!.once('data', () => resolve()))
    const client = from.start(process.execPath, '-e', CLIENT, host, String(port), String(size), String(total))
    let out = ''
    client.stdout!.on('data', (text) => {
      out += text
    })
    await new Promise((resolve) => client.on('close', resolve))
    return out.trim()
  } finally {
    server.kill()
  }
}

/** Ends the daemon in order, and takes everything away. */
export async function endLiveWorld(w: LiveWorld | undefined): Promise<void> {
  if (w !== undefined) {
    const ended = new Promise((resolve) => w.daemon.once('exit', resolve))
    w.daemon.kill('SIGTERM')
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 5000))])
    rmSync(w.dir, { recursive: true, force: true })
  }
  removeNamespaces()
}
