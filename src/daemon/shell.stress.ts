// `npm run bench:shell -- [clients] [rules]`: so many unmodified `tc -b` at once, each adding so many encap rules through the
// netlink door to a daemon in a process of its own, while another client dumps in a loop. Prints the rate, and fails unless
// every rule is there in the end and every dump was consistent, as a kernel's is: a rule that was there during the whole
// dump is in it exactly once. Rules are only added here, so each dump has all rules of the one before, and none twice.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { doorEnvironment } from './door.ts'
import { startProcess } from './process.fixture.ts'

const run = promisify(execFile)
const [clients = 20, rules = 10_000] = process.argv.slice(2).map(Number)
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-bench-'))
const daemon = await startProcess({ ports: [{ name: 'p0' }, { name: 'p1' }] })
const env = doorEnvironment(daemon.socket)
const batch = (name: string, lines: readonly string[]): string => {
  writeFileSync(join(dir, name), `${lines.join('\n')}\n`)
  return join(dir, name)
}
let failed = false
try {
  const setup = [
    'link add vxlan0 type vxlan external dstport 4789',
    'link set vxlan0 up',
    'addr add 10.0.0.1/8 dev p1',
    'neigh add 10.0.0.2 lladdr 02:11:22:33:44:55 dev p1',
  ]
  await run('ip', ['-b', batch('setup', setup)], { env })
  await run('tc', ['qdisc', 'add', 'dev', 'p0', 'clsact'], { env })
  const files = Array.from({ length: clients }, (_, c) =>
    batch(
      `rules-${c}`,
      Array.from(
        { length: rules },
        (_, i) =>
          `filter add dev p0 ingress protocol ip pref ${c + 1} flower dst_ip ${11 + c}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255} ` +
          'action tunnel_key set src_ip 10.0.0.1 dst_ip 10.0.0.2 ' +
          `id ${i & 0xffff} dst_port 4789 action mirred egress redirect dev vxlan0`,
      ),
    ),
  )
  const began = performance.now()
  let adding = true
  const dumping = dumpInALoop()
  await Promise.all(files.map((f) => run('tc', ['-b', f], { env })))
  const seconds = (performance.now() - began) / 1000
  adding = false
  const dumps = await dumping
  const shown = (await dump()).length
  const whole = shown === clients * rules
  if (!whole) failed = true
  process.stdout.write(
    `${clients} × tc -b with ${rules} encap rules: ${shown} rules${whole ? '' : ', NOT ALL,'} in ${seconds.toFixed(1)} s, ` +
      `${Math.round(shown / seconds)} rules/s, ${dumps} dumps meanwhile\n`,
  )

  async function dumpInALoop(): Promise<number> {
    let n = 0
    for (let before: string[] = []; adding; n++) {
      const seen = await dump()
      const set = new Set(seen)
      const lost = before.filter((rule) => !set.has(rule)).length
      if (lost > 0 || set.size !== seen.length) {
        failed = true
        process.stdout.write(`dump ${n}: ${seen.length} rules, ${set.size} of them different, ${lost} lost\n`)
      }
      before = seen
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    return n
  }
} finally {
  await daemon.end()
  rmSync(dir, { recursive: true })
}
process.exitCode = failed ? 1 : 0

/** The preference and handle of every rule, by the real tc. */
async function dump(): Promise<string[]> {
  const { stdout } = await run('tc', ['filter', 'show', 'dev', 'p0', 'ingress'], { env, maxBuffer: 2 ** 30 })
  return [...stdout.matchAll(/^filter protocol ip pref (\d+) flower chain 0 handle (\S+) /gm)].map(
    (m) => `${m[1]} ${m[2]}`,
  )
}
