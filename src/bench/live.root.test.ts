// bench live, for a moment: every forwarder forwards VXLAN from both kinds of frames, and its CPU time is found.
import { expect, test } from 'vitest'
import { whyNoNamespaces } from '../daemon/netns.fixture.ts'
import { type LiveResult, liveBench, SOURCES } from './live.ts'

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
