// `npm run kill9 -- [kills]`: a daemon is killed at random moments while clients add, replace and delete rules, and started
// again on its journal. After each start: every acknowledged change is there, and nothing that nobody asked for. What was
// asked and not acknowledged may be there or not. Fails with what was lost or invented.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Client, openClient } from '../rtnl/client.ts'
import { parseCommand } from '../tc/command.ts'
import { attrLen, msgType, NLMSG_ERROR, parseAttrs, parseError, viewOf } from '../wire/netlink.ts'
import { TCA_FLOWER_KEY_IPV4_DST } from '../wire/tca_flower.ts'
import * as Tcm from '../wire/tcm.ts'
import { type DaemonProcess, startProcess } from './process.fixture.ts'

const CLIENTS = 3
/** Requests that a client has under way. */
const WINDOW = 8
const HANDLES = 60

/** A client's rules, by handle: the address that each drops; several while a change of it is not acknowledged. */
type Rules = Map<number, Set<string | null>>

export interface Kill9Result {
  readonly kills: number
  readonly acknowledged: number
  readonly rules: number
  readonly compactions: number
  readonly wrong: readonly string[]
}

const ports = [{ name: 'p0' }, { name: 'p1' }]
const devices = {
  indexOf: (name: string) => ports.findIndex((p) => p.name === name) + 2,
  nameOf: (i: number) => `p${i - 2}`,
}
const requests = (line: string): readonly Uint8Array[] => parseCommand(line.split(' '), devices).requests

const random = (n: number): number => Math.floor(Math.random() * n)
const address = (client: number): string => `10.${client}.${random(256)}.${random(256)}`

/** One change after the other, WINDOW of them at a time, until the daemon dies. */
async function load(
  client: Client,
  c: number,
  rules: Rules,
  acknowledged: () => void,
  refused: (why: string) => void,
): Promise<void> {
  const busy = new Set<number>()
  const one = async (): Promise<void> => {
    for (;;) {
      let handle = 1 + random(HANDLES)
      while (busy.has(handle)) handle = 1 + random(HANDLES)
      busy.add(handle)
      const now = rules.get(handle) ?? new Set([null])
      const [before] = now
      const after = before !== null && random(2) === 0 ? null : address(c)
      const filter = `filter ${after === null ? 'del' : before === null ? 'add' : 'replace'} dev p0 ingress protocol ip pref ${c + 1} handle ${handle} flower`
      const line = after === null ? filter : `${filter} dst_ip ${after} action drop`
      rules.set(handle, new Set([before, after]))
      for (const request of requests(line)) {
        const answer = await client.ask(request.slice())
        const last = answer[answer.length - 1]
        if (msgType(viewOf(last)) !== NLMSG_ERROR) continue
        const { errno, message } = parseError(last)
        // Another rule of this client drops the same address already.
        if (errno === 17) rules.set(handle, new Set([before]))
        else if (errno !== 0) refused(`${line}: ${errno} ${message}`)
        else rules.set(handle, new Set([after]))
      }
      acknowledged()
      busy.delete(handle)
    }
  }
  await Promise.allSettled(Array.from({ length: WINDOW }, one))
}

/** The rules that there are, of each client, by handle. */
async function table(client: Client): Promise<Map<number, string>[]> {
  const found = Array.from({ length: CLIENTS }, () => new Map<number, string>())
  const tca = new Int32Array(Tcm.TCA_CHAIN + 1)
  const options = new Int32Array(TCA_FLOWER_KEY_IPV4_DST + 1)
  for (const m of await client.ask(requests('filter show dev p0 ingress')[0])) {
    const d = viewOf(m)
    if (msgType(d) !== Tcm.RTM_NEWTFILTER || Tcm.tcmHandle(d) === 0) continue
    parseAttrs(d, Tcm.TCMSG_ATTRS, m.length, tca, Tcm.TCA_CHAIN)
    const o = tca[Tcm.TCA_OPTIONS]
    parseAttrs(d, o, o + attrLen(d, o), options, TCA_FLOWER_KEY_IPV4_DST)
    const at = options[TCA_FLOWER_KEY_IPV4_DST]
    found[Tcm.infoPref(Tcm.tcmInfo(d)) - 1].set(Tcm.tcmHandle(d), [...m.subarray(at, at + 4)].join('.'))
  }
  return found
}

/** Kills so many times; see above. */
export async function kill9(kills: number, say: (line: string) => void = () => {}): Promise<Kill9Result> {
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-kill9-'))
  const config = {
    ports,
    log: 'info',

    journal: { path: join(dir, 'journal.pcap'), compact_mb: 1 },
    control_workers: 2,
  }
  const state: Rules[] = Array.from({ length: CLIENTS }, () => new Map())
  const wrong: string[] = []
  let acknowledged = 0
  let compactions = 0
  let daemon: DaemonProcess = await startProcess(config)
  const first = await openClient(daemon.socket)
  await first.ask(requests('qdisc add dev p0 clsact')[0])
  first.close()
  let rules = 0
  for (let kill = 0; kill < kills && wrong.length === 0; kill++) {
    const clients = await Promise.all(state.map(() => openClient(daemon.socket)))
    const loads = clients.map((client, c) =>
      load(
        client,
        c,
        state[c],
        () => acknowledged++,
        (why) => wrong.push(why),
      ),
    )
    await new Promise((resolve) => setTimeout(resolve, 5 + random(400)))
    daemon.process.kill('SIGKILL')
    await Promise.all(loads)
    compactions += /new snapshot/.test(daemon.log) ? 1 : 0
    daemon = await startProcess(config)
    const client = await openClient(daemon.socket)
    const there = await table(client)
    client.close()
    rules = 0
    for (let c = 0; c < CLIENTS; c++)
      for (let handle = 1; handle <= HANDLES; handle++) {
        const is = there[c].get(handle) ?? null
        const may = state[c].get(handle) ?? new Set([null])
        if (!may.has(is))
          wrong.push(`kill ${kill}: client ${c} handle ${handle}: ${is}, and not ${[...may].join(' or ')}`)
        state[c].set(handle, new Set([is]))
        if (is !== null) rules++
      }
    say(`kill ${kill + 1}: ${acknowledged} changes acknowledged, ${rules} rules, ${wrong.length} wrong`)
  }
  await daemon.end()
  rmSync(dir, { recursive: true, force: true })
  return { kills, acknowledged, rules, compactions, wrong }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  execFileSync(process.execPath, ['bin/build'])
  const result = await kill9(Number(process.argv[2] ?? 200), (line) => process.stdout.write(`${line}\n`))
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exitCode = result.wrong.length === 0 ? 0 : 1
}
