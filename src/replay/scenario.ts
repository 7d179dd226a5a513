// A scenario: which ports there are, which captures come in by them, and the command lines with the moment of each.
//
// It is a folder (setup.tc, rules.tc, post.tc, in-<port>.pcap), or rule files and captures named one by one. Loading reads
// text only: nothing is parsed as tc, no switch exists. What is wrong with it is a ScenarioError that says where.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { LanguageError } from '../tc/language_error.ts'
import { type Line, splitLine, splitScript } from '../tc/line.ts'
import { type Moment, parseMoment } from './moment.ts'
import { ScenarioError } from './scenario_error.ts'

/** One command line. */
export interface Step {
  /** Where it stands, for messages: `rules.tc:7`. */
  readonly where: string
  readonly words: readonly string[]
  /** When it runs; null is at set-up, in the order of the files. */
  readonly moment: Moment | null
  /** A refusal is a result, not an error (`# errors: continue`, a `batch` file). */
  readonly forgiving: boolean
}

export interface PortCapture {
  /** Number of the port. */
  readonly port: number
  readonly path: string
}

export interface Scenario {
  readonly name: string
  /** Names of the ports; the number of a port is its place. */
  readonly ports: readonly string[]
  readonly steps: readonly Step[]
  /** Run when the packets are through. */
  readonly after: readonly Step[]
  readonly captures: readonly PortCapture[]
  /** Milliseconds from set-up to the first packet, least pause after each packet, and time after the last. */
  readonly startMs: number
  readonly quietMs: number
  readonly finalMs: number
}

const DEFAULTS = { ports: 4, start_ms: 0, quiet_ms: 2, final_ms: 60 }
/** The last byte of a port's MAC is its number. */
const MAX_PORTS = 256

/** Loads a scenario folder. */
export function loadScenario(dir: string): Scenario {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw new ScenarioError(`${dir}: no such scenario folder`)
  const read = (file: string) => (existsSync(join(dir, file)) ? readFileSync(join(dir, file), 'utf8') : '')
  const setup = read('setup.tc')
  const header = readHeader(setup)
  const forgiving = /^#\s*errors:\s*continue\s*$/m.test(setup)
  const ports = Array.from({ length: header.ports }, (_, i) => `p${i}`)
  const steps = [
    ...readSteps('setup.tc', setup, forgiving),
    ...readSteps('rules.tc', read('rules.tc'), forgiving || existsSync(join(dir, 'batch'))),
  ]
  const captures: PortCapture[] = []
  for (const file of readdirSync(dir).sort()) {
    const port = /^in-(.+)\.(pcap|pcapng)$/.exec(file)?.[1]
    if (port === undefined) continue
    const i = ports.indexOf(port)
    if (i < 0) throw new ScenarioError(`${file}: there is no port ${port} (setup.tc says "# ports: ${ports.length}")`)
    if (captures.some((c) => c.port === i)) throw new ScenarioError(`${file}: a second capture for port ${port}`)
    captures.push({ port: i, path: join(dir, file) })
  }
  if (captures.length === 0) throw new ScenarioError(`${dir}: no capture (in-<port>.pcap or in-<port>.pcapng)`)
  captures.sort((a, b) => a.port - b.port)
  return {
    name: basename(dir),
    ports,
    steps,
    after: readAfter(read('post.tc'), forgiving),
    captures,
    startMs: header.start_ms,
    quietMs: header.quiet_ms,
    finalMs: header.final_ms,
  }
}

/** A scenario without a folder: rule files, and captures as PORT=PCAP. */
export function scenarioOf(rules: readonly string[], inputs: readonly string[]): Scenario {
  const ports: string[] = []
  const captures: PortCapture[] = []
  for (const input of inputs) {
    const [, name, path] = /^([^=]+)=(.+)$/.exec(input) ?? []
    if (name === undefined) throw new ScenarioError(`--in ${input}: expected PORT=PCAP`)
    if (ports.includes(name)) throw new ScenarioError(`--in ${input}: a second capture for port ${name}`)
    if (!isDeviceName(name)) throw new ScenarioError(`--in ${input}: "${name}" cannot be the name of a device`)
    captures.push({ port: ports.push(name) - 1, path })
  }
  if (captures.length === 0) throw new ScenarioError('no capture: --in PORT=PCAP says where packets come from')
  const steps: Step[] = []
  let header = DEFAULTS
  for (const file of rules) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (e) {
      throw new ScenarioError(
        `${file}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such rule file' : (e as Error).message}`,
      )
    }
    header = { ...header, ...givenHeader(text) }
    steps.push(...readSteps(file, text, /^#\s*errors:\s*continue\s*$/m.test(text)))
  }
  for (const name of mentioned(steps)) if (!ports.includes(name)) ports.push(name)
  return {
    name: rules[0] ?? 'replay',
    ports,
    steps,
    after: [],
    captures,
    startMs: header.start_ms,
    quietMs: header.quiet_ms,
    finalMs: header.final_ms,
  }
}

/** The largest MTU that a line gives to a device, or 1500: packet slots must hold such frames. */
export function largestMtu(scenario: Scenario): number {
  let mtu = 1500
  for (const { words } of [...scenario.steps, ...scenario.after])
    words.forEach((w, i) => {
      if (w === 'mtu' && /^\d+$/.test(words[i + 1] ?? '') && !words.includes('police'))
        mtu = Math.max(mtu, Number(words[i + 1]))
    })
  return Math.min(mtu, 65535)
}

/** Header comments with a number, as they stand: `# ports: 4`. */
function givenHeader(text: string): Partial<typeof DEFAULTS> {
  const given: Partial<typeof DEFAULTS> = {}
  for (const key of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]) {
    const value = new RegExp(`^#\\s*${key}:\\s*(\\S+)\\s*$`, 'm').exec(text)?.[1]
    if (value === undefined) continue
    if (!/^\d+$/.test(value)) throw new ScenarioError(`setup.tc: "# ${key}: ${value}": expected a number`)
    given[key] = Number(value)
  }
  return given
}

function readHeader(setup: string): typeof DEFAULTS {
  const header = { ...DEFAULTS, ...givenHeader(setup) }
  if (header.ports < 1 || header.ports > MAX_PORTS)
    throw new ScenarioError(`setup.tc: "# ports: ${header.ports}": expected 1 to ${MAX_PORTS}`)
  return header
}

function readAfter(text: string, forgiving: boolean): Step[] {
  const steps = readSteps('post.tc', text, forgiving)
  for (const { moment, where } of steps)
    if (moment !== null) throw new ScenarioError(`${where}: post.tc runs after the packets: its lines have no moment`)
  return steps
}

/** The lines of a script. `modprobe` lines, which the same script needs on a real kernel, mean nothing here. */
function readSteps(file: string, text: string, forgiving: boolean): Step[] {
  const steps: Step[] = []
  for (const line of lines(file, text)) {
    const where = `${file}:${line.first}`
    const { moment, words } = parseMoment(line.words, where)
    if (words.length > 0 && words[0] !== 'modprobe') steps.push({ where, words, moment, forgiving })
  }
  return steps
}

function lines(file: string, text: string): Line[] {
  try {
    return [...splitScript(text)]
  } catch (e) {
    if (!(e instanceof LanguageError)) throw e
    // Which line it was: the first that cannot be split by itself, or the last, which goes on into nothing.
    const physical = text.split('\n')
    const bad = physical.findIndex((line) => {
      try {
        splitLine(line)
        return false
      } catch {
        return true
      }
    })
    throw new ScenarioError(`${file}:${(bad < 0 ? physical.length - 1 : bad) + 1}: ${e.message}`)
  }
}

/** Device names behind `dev` (and `ip link set NAME`) that no line of the scenario makes. */
function mentioned(steps: readonly Step[]): string[] {
  const made = new Set(['lo'])
  const names = new Set<string>()
  for (const { words } of steps) {
    const link = words.indexOf('link')
    if (link >= 0 && words[link + 1] === 'add')
      made.add(words[link + 2] === 'name' || words[link + 2] === 'dev' ? words[link + 3] : words[link + 2])
    if (link >= 0 && words[link + 1] === 'set' && words[link + 2] !== 'dev') names.add(words[link + 2])
    words.forEach((w, i) => {
      if (w === 'dev' && i + 1 < words.length) names.add(words[i + 1])
    })
  }
  return [...names].filter((n) => n !== undefined && !made.has(n) && isDeviceName(n))
}

/** As the kernel's dev_valid_name. */
function isDeviceName(name: string): boolean {
  return name.length < 16 && !/[\s/:]/.test(name) && name !== '.' && name !== '..' && name !== ''
}
