// `npm run bench:batch -- [lines] [workers]`: one batch of so many encap rules, a million, line after line on one thread, and
// by control workers, each on a switch of its own. Prints both rates and fails unless the two tables are the same.

import { createHash } from 'node:crypto'
import { addLine, setup } from '../bench/rules_workload.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { parseCommand } from '../tc/command.ts'
import { CommandText } from '../tc/command_text.ts'
import { splitLine } from '../tc/line.ts'
import { LONGEST, openControlWorkers } from './batch.ts'
import { execute, perform } from './execute.ts'

const [lines = 1_000_000, workers = 2] = process.argv.slice(2).map(Number)
const KEYS = 200
const ARENA_BYTES = 2 ** 31 - 65536

function openSwitch(): Switch {
  const port = (i: number) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })
  const sw = createSwitch({ ports: [port(0), port(1)], frameSize: 1518, arenaBytes: ARENA_BYTES })
  for (const line of setup(KEYS)) execute(sw, splitLine(line))
  return sw
}

/** Pieces of the batch. */
function* pieces(): Generator<string[]> {
  for (let at = 0; at < lines; at += LONGEST) {
    const n = Math.min(LONGEST, lines - at)
    yield Array.from({ length: n }, (_, i) => addLine('encap-200', at + i))
  }
}

/** A name for the table: what a dump of it says. */
function fingerprint(sw: Switch): string {
  const hash = createHash('sha256')
  let rules = 0
  for (const question of parseCommand(['tc', 'filter', 'show', 'dev', 'p0', 'ingress'], sw.devices).requests)
    sw.ask(question, (m) => {
      hash.update(m)
      rules++
    })
  return `${rules} messages ${hash.digest('hex')}`
}

const rate = (ms: number): string => `${Math.round(lines / ms)} k rules/s of wall time (${(ms / 1000).toFixed(1)} s)`

function inSequence(): string {
  const sw = openSwitch()
  let ms = 0
  for (const piece of pieces()) {
    const text = new TextEncoder().encode(piece.join('\n'))
    const began = performance.now()
    const commands = new CommandText(text, sw.devices)
    for (let c = commands.next(); c !== undefined; c = commands.next()) perform(sw, c)
    ms += performance.now() - began
  }
  process.stdout.write(`in sequence: ${rate(ms)}\n`)
  const name = fingerprint(sw)
  sw.close()
  return name
}

async function byWorkers(): Promise<string> {
  const sw = openSwitch()
  const control = openControlWorkers(sw, workers)
  let ms = 0
  let said = 0
  for (const piece of pieces()) {
    const steps = piece.map((line) => ({ where: '', words: splitLine(line), moment: null, forgiving: false }))
    const began = performance.now()
    said += (await control.run(steps)).length
    ms += performance.now() - began
  }
  if (said > 0) throw new Error(`${said} lines were refused`)
  process.stdout.write(`${workers} control workers: ${rate(ms)}\n`)
  const name = fingerprint(sw)
  await control.close()
  sw.close()
  return name
}

const one = inSequence()
const other = await byWorkers()
const same = one === other
process.stdout.write(`${lines} lines: ${same ? `the same table, ${one}` : `DIFFERENT TABLES: ${one}, ${other}`}\n`)
process.exitCode = same ? 0 : 1
