// npm run record -- SCENARIO…: a real kernel's answer to scenarios, and how ours differs from it.
//
// A Linux 6.1 of Debian is booted in an emulator (testing/kernel_vm.ts; no root, no KVM), runs each scenario's lines with the
// real tc and ip, gets its packets, and says what the ports sent and what the filters counted. That is written to expected/ in
// the scenario's folder, in the form of fixtures/kernel; then a replay is held against it, as tests hold the fixtures. Exit
// status 1 when one differs, 2 when one cannot be recorded.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { classicBytes } from '../testing/capture_bytes.ts'
import type { Answer, Job, JobLine, JobPacket } from '../testing/kernel_guest.ts'
import { boot, fetchKernel } from '../testing/kernel_vm.ts'
import { compareWithKernel, judgedQdiscs, timedFrames } from './kernel_answer.fixture.ts'
import { loadScenario, type Scenario, type Step } from './scenario.ts'
import { ScenarioError } from './scenario_error.ts'

/** A kernel's clock is a real one: longer pauses of a capture are waited for no longer than this. */
const LONGEST_PAUSE_MS = 1000

function lineOf({ where, words, moment, forgiving }: Step): JobLine {
  if (moment !== null)
    throw new ScenarioError(`${where}: a kernel has no virtual clock: no line with a moment can be recorded`)
  const named = words[0] === 'tc' || words[0] === 'ip'
  return { where, words: named ? words : ['tc', ...words], forgiving }
}

function packetsOf(scenario: Scenario): JobPacket[] {
  const all = scenario.captures.flatMap(({ port, path }) => timedFrames(path).map((f) => ({ port, ...f })))
  all.sort((a, b) => a.time - b.time || a.port - b.port)
  return all.map(({ port, bytes, time }, i) => ({
    port,
    bytes: Buffer.from(bytes).toString('base64'),
    pause: i === 0 ? 0 : Math.min((time - all[i - 1].time) / 1e6, LONGEST_PAUSE_MS),
  }))
}

/** Writes expected/: the seconds of a packet's time are the number of the packet that caused it. */
function writeExpected(dir: string, job: Job, answer: Answer, jobs: string): void {
  const expected = join(dir, 'expected')
  rmSync(expected, { recursive: true, force: true })
  mkdirSync(expected)
  for (const port of job.ports) {
    const sent = timedFrames(join(jobs, `${job.name}.${port}.pcap`)).map(({ bytes, time }, i) => ({
      bytes,
      seconds: answer.injected.filter((t) => t <= time + 1000).length,
      nanos: i * 1000,
    }))
    writeFileSync(join(expected, `out-${port}.pcap`), classicBytes(sent))
  }
  const filters: Record<string, unknown> = {}
  for (const [hook, text] of Object.entries(answer.filters)) {
    try {
      filters[hook] = JSON.parse(text || '[]')
    } catch (e) {
      filters[hook] = { invalid_json: (e as Error).message, raw: text }
    }
  }
  writeFileSync(join(expected, 'filters.json'), `${JSON.stringify(filters, null, 1)}\n`)
  writeFileSync(join(expected, 'qdisc.json'), `${JSON.stringify(judgedQdiscs(answer.qdiscs))}\n`)
  if (answer.log !== '') writeFileSync(join(expected, 'log.txt'), answer.log)
}

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const dirs = process.argv.slice(2).map((d) => resolve(d))
const jobs = mkdtempSync(join(tmpdir(), 'flowerbed-jobs-'))
try {
  if (dirs.length === 0) throw new ScenarioError('usage: npm run record -- SCENARIO…')
  const asked = dirs.map((dir, i): Job => {
    const s = loadScenario(dir)
    const { ports, startMs, quietMs, finalMs } = s
    const lines = { lines: s.steps.map(lineOf), after: s.after.map(lineOf) }
    return { name: `${i}-${s.name}`, ports, ...lines, packets: packetsOf(s), startMs, quietMs, finalMs }
  })
  for (const job of asked) writeFileSync(join(jobs, `${job.name}.job`), JSON.stringify(job))
  await boot(fetchKernel(say), jobs, say)
  for (const [i, job] of asked.entries()) {
    const answer = JSON.parse(readFileSync(join(jobs, `${job.name}.answer`), 'utf8')) as Answer
    if (answer.error !== null) {
      say(`${dirs[i]}: not recorded: ${answer.error}`)
      process.exitCode = 2
      continue
    }
    writeExpected(dirs[i], job, answer, jobs)
    const found = await compareWithKernel(dirs[i]).catch((e: Error) => [e.message])
    say(`${dirs[i]}: ${found.length === 0 ? 'as the kernel' : found.join('\n')}`)
    if (found.length > 0) process.exitCode ||= 1
  }
} catch (e) {
  say((e as Error).message)
  process.exitCode = 2
} finally {
  rmSync(jobs, { recursive: true })
}
