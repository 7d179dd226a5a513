// bench live, for a moment: every forwarder forwards VXLAN from both kinds of frames, and its CPU time is found.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { whyNoNamespaces } from '../daemon/netns.fixture.ts'
import { type LiveResult, liveBench, removeLeftovers, SOURCES } from './live.ts'

const missing = whyNoNamespaces('bridge')

test.skipIf(missing !== '')(`the kernel and af_xdp encapsulate ${missing}`, { timeout: 300_000 }, async () => {
  const results: LiveResult[] = []
  const drivers = ['af_xdp']
  await liveBench({ rounds: 1, ms: 100, drivers, size: 64, done: (r) => results.push(r) })
  expect(results.map((r) => `${r.source} ${r.forwarder}`)).toEqual(
    SOURCES.flatMap((s) => ['kernel', ...drivers].map((f) => `${s} ${f}`)),
  )
  for (const r of results) {
    expect(r, r.forwarder).toMatchObject({ verified: true })
    expect(r.nsReceive, r.forwarder).toBeGreaterThan(0)
    // The datapath thread forwards for us, and nobody else for the kernel.
    if (r.forwarder === 'kernel') expect(r.nsPerPacket).toBe(r.nsReceive)
    else expect(r.nsPerPacket).toBeGreaterThan(r.nsReceive)
  }
})

test.skipIf(missing !== '')(
  `what a run that was killed left is taken away ${missing}`,
  { timeout: 60_000 },
  async () => {
    const dead = spawnSync('true').pid
    const [left, ours] = [`fbl${dead}s0`, `fbl${process.pid}s0`]
    for (const ns of [left, ours]) execFileSync('ip', ['netns', 'add', ns])
    const inside = spawn('ip', ['netns', 'exec', left, 'sleep', '600'])
    const ended = new Promise((resolve) => inside.once('exit', resolve))
    try {
      const within = (): string => execFileSync('ip', ['netns', 'pids', left], { encoding: 'utf8' })
      await expect.poll(within, { timeout: 20_000 }).toContain(String(inside.pid))
      removeLeftovers()
      await ended
      const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
      expect(names).not.toContain(left)
      expect(names).toContain(ours)
    } finally {
      inside.kill()
      for (const ns of [left, ours]) spawnSync('ip', ['netns', 'del', ns])
    }
  },
)
