// The checks on devices of a namespace that the test makes: found, and mended when asked to. Skipped without root.
import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CLONE_NEWNET, setns, unshare } from '../sys/libc.ts'
import { parseConfig } from './config.ts'
import { checks } from './doctor/index.ts'
import { offloads } from './doctor/offloads.ts'

const config = parseConfig(JSON.stringify({ ports: [{ name: 'd0' }, { name: 'd1' }] }), 'test')

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
