// Main's care for the threads: a control worker that dies is replaced, and everything that was asked is answered once.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { msgType, NLMSG_ERROR, parseError, viewOf } from '../wire/netlink.ts'
import { EIO } from '../wire/netlink_error.ts'
import { RTM_NEWTFILTER, tcmHandle } from '../wire/tcm.ts'
import { parseConfig } from './config.ts'
import { startDaemon } from './daemon.ts'
import { folder } from './process.fixture.ts'
import { devicesOf } from './tables/devices.ts'

const dir = folder()
afterAll(() => rmSync(dir, { recursive: true }))

test('a control worker is killed in the middle of its work: all is answered, what was acknowledged is there', {
  timeout: 240_000,
}, async () => {
  const errors: unknown[] = []
  const none = (): void => {}
  const log = { debug: none, info: none, warn: none, error: (what: unknown) => errors.push(what) }
  const config = { socket: join(dir, 'rtnetlink.sock'), control_workers: 1, ports: [{ name: 'p0' }] }
  const daemon = await startDaemon(parseConfig(JSON.stringify(config), 'test'), log as never)
  try {
    const client = await openClient(config.socket)
    const send = async (line: string): Promise<Uint8Array[]> => {
      const [request] = parseCommand(splitLine(line), devicesOf(daemon.arena)).requests
      return client.ask(request.slice())
    }
    const errno = (replies: Uint8Array[]): number => parseError(replies[replies.length - 1]).errno
    expect(errno(await send('tc qdisc add dev p0 clsact'))).toBe(0)
    const N = 2000
    const rule = (i: number): string =>
      `tc filter add dev p0 ingress protocol ip pref 1 handle ${i + 1} flower dst_ip 10.0.${i >> 8}.${i & 255} action drop`
    const asked = Array.from({ length: N }, (_, i) => send(rule(i)))
    await asked[20]
    const before = [...daemon.seats.control]
    await Promise.all(before.map((t) => t.terminate()))
    const errnos = (await Promise.all(asked)).map(errno)
    expect(errnos.filter((e) => e !== 0 && e !== EIO)).toEqual([])
    expect(errnos.filter((e) => e === 0).length).toBeGreaterThan(20)
    expect(daemon.seats.control.some((t) => before.includes(t))).toBe(false)
    expect(errors.length).toBe(1)
    const shown = (await send('tc filter show dev p0 ingress'))
      .filter((m) => msgType(viewOf(m)) === RTM_NEWTFILTER)
      .map((m) => tcmHandle(viewOf(m)))
    for (let i = 0; i < N; i++) if (errnos[i] === 0) expect(shown).toContain(i + 1)
    // What was not known to be done is done or not, and may be asked again.
    for (const i of errnos.flatMap((e, i) => (e === EIO ? [i] : [])).slice(0, 5)) {
      const [again] = (await send(rule(i))).slice(-1)
      expect(msgType(viewOf(again))).toBe(NLMSG_ERROR)
    }
    client.close()
  } finally {
    await daemon.close()
  }
})
