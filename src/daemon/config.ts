// The daemon's configuration: a YAML file, checked before anything starts. The only file that knows yaml and zod.
//
//   socket: /run/flowerbed/rtnetlink.sock
//   mode: "0660"
//   http: /run/flowerbed/http.sock  # tables and events; when absent, http.sock beside the other one
//   log: info
//   ports:
//     - name: p0                    # the first one is port 0, with MAC 02:00:00:00:00:00 …
//       driver: dummy               # sends into nothing
//       mac: 02:00:00:00:00:07
//       mtu: 9000
//     - name: p1
//       driver: af_xdp              # or af_packet, tap: a port with a device of the kernel's
//       device: eth1                # the same name when absent
//       role: uplink                # only what is for our tunnels is ours; access: everything is
//       neigh: kernel               # whose addresses, routes and neighbours it has, the kernel's; own: the switch's, which
//                                   # then gets everything that comes in
//     - name: p2
//       driver: raw_ip              # an uplink by the kernel's own IP, without Ethernet
//     - name: p3
//       driver: pcap                # a capture comes in, what goes out is written to one
//       in: traffic.pcap
//       out: sent.pcap
//       rate: 1000                  # frames a second; at their distance in the file when absent
//       loop: true                  # and again
//   scripts: [setup.tc, rules.tc]   # ip and tc lines to run at the start, relative to this file
//   workers: 1                      # datapath threads, which share the live ports; one for each core when absent
//   profile: mlx5                   # say of each rule whether a NIC with this driver would offload it
//   busy_poll: false                # they never sleep
//   pin: false                      # each has a core of its own
//   control_workers: 3              # threads that do requests; when absent, one less than there are cores
//   journal:                        # changes survive the daemon; without it they do not
//     path: /var/lib/flowerbed/journal.pcap
//     sync: always                  # an acknowledged change is on the disk; interval, none: it is in the file
//     interval_ms: 1000
//     compact_mb: 16                # requests that are worth a new snapshot
//   http_listen: 127.0.0.1:9100     # HTTP by TCP besides, for Prometheus
//
// What is wrong is a ConfigError that names file, line and place.

import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isMap, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import type { PortCaptures } from '../port/port.ts'
import { DEFAULT_SOCKET } from '../rtnl/frame.ts'
import { SYNC_POLICIES, type SyncPolicy } from '../rtnl/journal_sync.ts'
import { ConfigError } from './config_error.ts'
import { LEVELS } from './log.ts'

/** Port drivers, and the options that each has beside name, mac and mtu. */
const DRIVER_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  dummy: [],
  af_packet: ['device', 'role', 'neigh'],
  af_xdp: ['device', 'role', 'neigh', 'zerocopy'],
  tap: ['device', 'role', 'neigh'],
  raw_ip: [],
  pcap: ['in', 'out', 'rate', 'loop'],
}
export const DRIVERS = Object.keys(DRIVER_OPTIONS)

const driver = z.string().refine((name) => DRIVERS.includes(name), {
  error: (issue) => `no such port driver: ${String(issue.input)}; there are: ${DRIVERS.join(', ')}`,
})

export const WORKERS_MAX = 16
export const CONTROL_WORKERS_MAX = 32

const NAME = /^[^\s/:]{1,15}$/
const NAME_SAYS = 'the name of a device has 1 to 15 characters, without blank, / or :'

const port = z
  .strictObject({
    name: z.string().regex(NAME, NAME_SAYS),
    driver: driver.default('dummy'),
    device: z.string().regex(NAME, NAME_SAYS).optional(),
    role: z.enum(['access', 'uplink']).optional(),
    neigh: z.enum(['kernel', 'own']).optional(),
    zerocopy: z.boolean().optional(),
    in: z.string().min(1).optional(),
    out: z.string().min(1).optional(),
    rate: z.number().positive().max(1e7).optional(),
    loop: z.boolean().optional(),
    mac: z
      .string()
      .regex(/^[\da-f]{2}(:[\da-f]{2}){5}$/i, 'expected a MAC address like 02:00:00:00:00:01')
      .refine((mac) => !(Number.parseInt(mac, 16) & 1), 'a multicast address cannot be the address of a port')
      .optional(),
    mtu: z.int().min(68).max(9216).default(1500),
  })
  .superRefine((p, c) => {
    const options = DRIVER_OPTIONS[p.driver] ?? []
    for (const key of ['device', 'role', 'neigh', 'zerocopy', 'in', 'out', 'rate', 'loop'] as const)
      if (p[key] !== undefined && !options.includes(key))
        c.addIssue({ code: 'custom', path: [key], message: `the driver ${p.driver} has no option ${key}` })
    if (p.neigh !== undefined && p.role !== 'uplink')
      c.addIssue({ code: 'custom', path: ['neigh'], message: 'only an uplink has neighbours: role: uplink' })
    if (p.driver === 'tap' && p.neigh === 'kernel')
      c.addIssue({
        code: 'custom',
        path: ['neigh'],
        message: "the kernel's neighbours on a tap are those of its own end: neigh: own",
      })
  })

const schema = z.strictObject({
  socket: z.string().min(1).max(107, 'the path of a Unix socket has at most 107 characters').default(DEFAULT_SOCKET),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'expected a file mode like "0660"')
    .default('0660'),
  http: z.string().min(1).max(107, 'the path of a Unix socket has at most 107 characters').optional(),
  log: z.enum(LEVELS).default('info'),
  ports: z
    .array(port)
    .max(256)
    .default([])
    .superRefine((ports, c) => {
      ports.forEach((p, i) => {
        if (p.name === 'lo' || ports.findIndex((q) => q.name === p.name) < i)
          c.addIssue({ code: 'custom', path: [i, 'name'], message: `there is a device ${p.name} already` })
      })
    }),
  scripts: z.array(z.string().min(1)).default([]),
  workers: z.int().min(1).max(WORKERS_MAX).optional(),
  profile: z.enum(['mlx5']).optional(),
  busy_poll: z.boolean().default(false),
  pin: z.boolean().default(false),
  control_workers: z.int().min(1).max(CONTROL_WORKERS_MAX).optional(),
  journal: z
    .strictObject({
      path: z.string().min(1),
      sync: z.enum(SYNC_POLICIES).default('always'),
      interval_ms: z.int().min(1).max(60_000).default(1000),
      compact_mb: z.int().min(1).max(4096).default(16),
    })
    .optional(),
  http_listen: z
    .string()
    .regex(/^(\[[\da-fA-F:]+\]|[\w.-]+):\d{1,5}$/, 'expected an address and a port like 127.0.0.1:9100')
    .optional(),
})

export interface PortConfig {
  readonly name: string
  readonly mac: Uint8Array
  readonly mtu: number
  readonly driver: string
  /** The kernel's device, where the driver has one. */
  readonly device: string
  readonly role: 'access' | 'uplink'
  /** Whose the neighbours of an uplink are. */
  readonly neigh: 'kernel' | 'own'
  readonly zerocopy: boolean
  /** What a pcap port reads and writes: absolute paths. */
  readonly captures?: PortCaptures
}

export interface Config {
  readonly socket: string
  readonly mode: number
  /** Path of the HTTP socket. */
  readonly http: string
  readonly log: (typeof LEVELS)[number]
  readonly ports: readonly PortConfig[]
  /** Absolute paths. */
  readonly scripts: readonly string[]
  /** Datapath threads; undefined: one for each core. */
  readonly workers: number | undefined
  /** They never sleep. */
  /** Each rule is told whether a NIC with this driver would take it. */
  readonly profile?: 'mlx5'
  readonly busyPoll: boolean
  /** Each has a core of its own. */
  readonly pin: boolean
  /** Control workers; undefined: as many as suit the machine. */
  readonly controlWorkers: number | undefined
  /** Where changes are kept; undefined: nowhere. */
  readonly journal: JournalConfig | undefined
  /** A TCP address for HTTP besides, for Prometheus. */
  readonly httpListen: { readonly host: string; readonly port: number } | undefined
}

export interface JournalConfig {
  /** Absolute. */
  readonly path: string
  readonly sync: SyncPolicy
  /** Milliseconds between two syncs, for `interval`. */
  readonly intervalMs: number
  /** Bytes of requests that are worth a new snapshot. */
  readonly compactBytes: number
}

/** The configuration in a file. Throws ConfigError. */
export function readConfig(path: string): Config {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (e) {
    throw new ConfigError(`${path}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : String(e)}`)
  }
  return parseConfig(text, path)
}

/** The configuration in a text; `path` is for messages and for what is relative to it. Throws ConfigError. */
export function parseConfig(text: string, path: string): Config {
  const lines = new LineCounter()
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const line = (offset: number): string => `${path}:${lines.linePos(offset).line}`
  const [broken] = doc.errors
  if (broken !== undefined) throw new ConfigError(`${line(broken.pos[0])}: ${broken.message}`)
  const result = schema.safeParse(doc.toJS() ?? {})
  if (!result.success) {
    const [issue] = result.error.issues
    const at = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : issue.path
    const what =
      issue.code === 'unrecognized_keys' ? `there is no option ${issue.keys[0]}` : `${place(at)}${issue.message}`
    throw new ConfigError(`${line(offsetOf(doc, at))}: ${what}`)
  }
  const c = result.data
  return {
    socket: c.socket,
    mode: Number.parseInt(c.mode, 8),
    http: c.http ?? join(dirname(c.socket), 'http.sock'),
    log: c.log,
    ports: c.ports.map((p, i) => portOf(p, i, dirname(path))),
    scripts: c.scripts.map((s) => resolve(dirname(path), s)),
    workers: c.workers,
    profile: c.profile,
    busyPoll: c.busy_poll,
    pin: c.pin,
    controlWorkers: c.control_workers,
    journal: c.journal && {
      path: resolve(dirname(path), c.journal.path),
      sync: c.journal.sync,
      intervalMs: c.journal.interval_ms,
      compactBytes: c.journal.compact_mb << 20,
    },
    httpListen: addressOf(c.http_listen),
  }
}

/** One port, as it would stand in a file; it gets a number. Throws ConfigError. */
export function parsePort(raw: unknown, number: number): PortConfig {
  const result = port.safeParse(raw)
  if (result.success) return portOf(result.data, number, '.')
  const [issue] = result.error.issues
  throw new ConfigError(
    issue.code === 'unrecognized_keys' ? `there is no option ${issue.keys[0]}` : `${place(issue.path)}${issue.message}`,
  )
}

/** The words of `flowerbed port add`: a name, then options and their values, each written as it is in a file. */
export function portWords(name: string, words: readonly string[]): Record<string, unknown> {
  const raw: Record<string, unknown> = { name }
  for (let i = 0; i < words.length; i += 2) {
    if (words[i + 1] === undefined) throw new ConfigError(`${words[i]}: the value is missing`)
    if (Object.hasOwn(raw, words[i])) throw new ConfigError(`${words[i]}: said twice`)
    raw[words[i]] = parseDocument(words[i + 1]).toJS()
  }
  return raw
}

const portOf = (p: z.infer<typeof port>, i: number, folder: string): PortConfig => ({
  name: p.name,
  mac: macOf(p.mac, i),
  mtu: p.mtu,
  driver: p.driver,
  device: p.device ?? p.name,
  role: p.role ?? 'access',
  neigh: p.neigh ?? (p.driver === 'tap' ? 'own' : 'kernel'),
  zerocopy: p.zerocopy ?? false,
  ...(p.driver === 'pcap' && { captures: capturesOf(p, folder) }),
})

/** What holds without a file. */
export const defaultConfig = (): Config => parseConfig('', 'defaults')

const place = (path: readonly PropertyKey[]): string =>
  path.length === 0
    ? ''
    : `${path.map((p) => (typeof p === 'number' ? `[${p}]` : `.${String(p)}`)).join('')}: `.slice(1)

/** Where the key, or else the nearest thing around it that is there, stands in the text. */
function offsetOf(doc: ReturnType<typeof parseDocument>, path: readonly PropertyKey[]): number {
  for (let n = path.length; n > 0; n--) {
    const parent = n === 1 ? doc.contents : doc.getIn(path.slice(0, n - 1), true)
    const pair = isMap(parent) ? parent.items.find((i) => String(i.key) === String(path[n - 1])) : undefined
    const node = (pair?.key ?? doc.getIn(path.slice(0, n), true)) as { range?: [number, number, number] } | undefined
    if (node?.range) return node.range[0]
  }
  return (doc.contents as { range?: [number, number, number] } | null)?.range?.[0] ?? 0
}

/** Paths are relative to the configuration, or, of a port that is added, to where the daemon was started. */
const capturesOf = (p: z.infer<typeof port>, folder: string): PortCaptures => ({
  ...(p.in !== undefined && { in: resolve(folder, p.in) }),
  ...(p.out !== undefined && { out: resolve(folder, p.out) }),
  ...(p.rate !== undefined && { rate: p.rate }),
  loop: p.loop ?? false,
})

/** 02:00:00:00:00:XX with the number of the port, unless the configuration says another one. */
function macOf(text: string | undefined, number: number): Uint8Array {
  if (text === undefined) return Uint8Array.of(2, 0, 0, 0, 0, number)
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16))
}

/** `127.0.0.1:9100` or `[::1]:9100`. */
function addressOf(text: string | undefined): Config['httpListen'] {
  if (text === undefined) return undefined
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}
