// Network namespaces for tests that need real interfaces: made by the test, gone with it.
//
//   const skip = whyNoNamespaces()          '' when there can be some, else what is missing: the name of the skipped test
//   const a = makeNamespace('a');  a.ip('link set lo up');  a.run('ping', '-c1', '10.0.0.2')
//
// Names begin with the process's number, so that runs beside each other do not meet.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'

export interface Namespace {
  readonly name: string
  /** An ip command line in the namespace, after `ip -n NAME`. Returns what it prints; throws what it complains of. */
  ip(line: string): string
  /** Runs a program there; returns its output, throws when it fails. */
  run(command: string, ...args: string[]): string
  /** Starts one there. */
  start(command: string, ...args: string[]): ChildProcess
}

const made = new Set<string>()
let number = 0

/** What these tests lack: '' nothing. */
export function whyNoNamespaces(...programs: string[]): string {
  if (process.getuid?.() !== 0) return 'needs root'
  for (const p of ['ip', ...programs])
    if (spawnSync('sh', ['-c', `command -v ${p}`]).status !== 0) return `needs the program ${p}`
  const probe = `fb${process.pid}probe`
  const { status, stderr } = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' })
  spawnSync('ip', ['netns', 'del', probe])
  return status === 0 ? '' : `needs network namespaces (${stderr.trim()})`
}

/** The name of a test that is skipped for a reason says it. */
export const titled =
  (skip: string) =>
  (text: string): string =>
    skip === '' ? text : `${text} (skipped: ${skip})`

/** A namespace with loopback up, without IPv6 traffic of its own making (no router solicitation, no duplicate detection). */
export function makeNamespace(label: string): Namespace {
  const name = `fb${process.pid}${label}${number++}`
  execFileSync('ip', ['netns', 'add', name])
  made.add(name)
  const run = (command: string, ...args: string[]): string =>
    execFileSync('ip', ['netns', 'exec', name, command, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  for (const which of ['default', 'all'])
    for (const [key, value] of [
      ['router_solicitations', 0],
      ['accept_dad', 0],
      ['dad_transmits', 0],
    ])
      run('sh', '-c', `echo ${value} > /proc/sys/net/ipv6/conf/${which}/${key}`)
  const ip = (line: string): string =>
    execFileSync('ip', ['-n', name, ...line.split(/\s+/)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  ip('link set lo up')
  return {
    name,
    ip,
    run,
    start: (command, ...args) =>
      spawn('ip', ['netns', 'exec', name, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
  }
}

/** A veth pair between two namespaces, both ends up. */
export function veth(a: Namespace, nameA: string, b: Namespace, nameB: string, mtu = 1500): void {
  a.ip(`link add ${nameA} mtu ${mtu} type veth peer name ${nameB} mtu ${mtu} netns ${b.name}`)
  a.ip(`link set ${nameA} up`)
  b.ip(`link set ${nameB} up`)
}

/** Takes all namespaces away, and with them their devices. */
export function removeNamespaces(): void {
  for (const name of made) spawnSync('ip', ['netns', 'del', name])
  made.clear()
}
