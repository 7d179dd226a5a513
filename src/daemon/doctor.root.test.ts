// The checks on devices of a namespace that the test makes: found, and mended when asked to. Skipped without root.
import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CLONE_NEWNET, setns, unshare } from '../sys/libc.ts'
import { parseConfig } from './config.ts'
import { checks } from './doctor/index.ts'
import { offloads } from './doctor/offloads.ts'

// The devices behind the ports have other names than the ports, and a port without a device is none of a check's business.
const ports = [
  { name: 'p0', driver: 'af_packet', device: 'd0' },
  { name: 'p1', driver: 'af_xdp', device: 'd1' },
  { name: 'd2' },
]
const config = parseConfig(JSON.stringify({ ports }), 'test')

test('every check says something of every machine, each complaint with advice', () => {
  for (const check of checks) {
    const findings = check.run(config)
    expect(findings.length, check.name).toBeGreaterThan(0)
    for (const f of findings)
      if (f.verdict === 'warning' || f.verdict === 'error') expect(f.advice, f.found).toBeTruthy()
  }
})

test.skipIf(process.getuid?.() !== 0)('offloads of a veth are found and mended (needs root)', () => {
  const before = openSync('/proc/thread-self/ns/net', 'r')
  try {
    unshare(CLONE_NEWNET)
    execFileSync('ip', ['link', 'add', 'd0', 'type', 'veth', 'peer', 'name', 'd1'])
    execFileSync('ip', ['link', 'add', 'p0', 'type', 'veth', 'peer', 'name', 'd2'])
    const [found] = offloads.run(config)
    expect(found).toMatchObject({ verdict: 'warning' })
    expect(found.advice).toMatch(/^ethtool -K d0 .*tso off/)
    for (const f of offloads.run(config)) f.fix?.()
    expect(offloads.run(config).map((f) => f.verdict)).toEqual(['ok', 'ok'])
  } finally {
    setns(before, CLONE_NEWNET)
    closeSync(before)
  }
})
