// The command as a user meets it: exit status, stdout, stderr.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-cli-'))
afterAll(() => rmSync(dir, { recursive: true }))

interface Said {
  status: number
  out: string
  err: string
}

function flowerbed(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'bin/flowerbed'), ...args], { cwd: root }, (e, out, err) =>
      resolve({ status: e === null ? 0 : Number(e.code), out, err }),
    )
  })
}

const slow = { timeout: 60_000 }

test('help and version are no errors', slow, async () => {
  expect(await flowerbed('--help')).toMatchObject({ status: 0, err: '', out: expect.stringContaining('replay') })
  expect(await flowerbed('replay', '--help')).toMatchObject({
    status: 0,
    err: '',
    out: expect.stringContaining('rules.tc'),
  })
  expect(await flowerbed('--version')).toMatchObject({ status: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})

test.each([
  [[], /Usage: flowerbed/],
  [['fly'], /^flowerbed: unknown command 'fly'/],
  [['replay', '--fast'], /^flowerbed: unknown option '--fast'/],
  [['replay'], /^replay: which scenario/],
  [['trace'], /^trace: which scenario/],
  [['trace', 'fixtures/first', '--packet', '0'], /^flowerbed: .*Expected a number from 1/],
  [['trace', 'fixtures/first', '--packet', '99999'], /^trace: there are fewer than 99999 packets/],
  [['replay', 'fixtures/first', '--in', 'p0=x.pcap'], /not both/],
  [['replay', 'fixtures/nowhere'], /^fixtures\/nowhere: no such scenario folder/],
  [['replay', '--rules', 'x.tc', '--in', 'p0=x.pcap'], /^x\.tc: no such rule file/],
  [['replay', '--in', 'p0=nowhere.pcap'], /^nowhere\.pcap: no such file or directory/],
  [['convert', 'package.json', 'x.pcap'], /^package\.json: not a capture/],
  [['bench', 'everything'], /^bench everything: no such suite/],
  [['bench', 'encap', '--size', '63'], /--size 63: expected/],
  [['bench', 'decap', '--workers', '2'], /^bench decap: --workers is for encap and rules/],
])('bad usage: %s', slow, async (args, err) => {
  const said = await flowerbed(...args)
  expect(said).toMatchObject({ status: 2, out: '' })
  expect(said.err).toMatch(err)
})

test('trace says what became of one packet, as text and as a document', slow, async () => {
  const said = await flowerbed('trace', 'fixtures/first', '--packet', '14')
  expect(said).toMatchObject({ status: 0, err: '' })
  expect(said.out).toMatch(/^packet 14, 52\.000 ms: in p0: .*drop filter: A filter said drop\.\n$/s)
  const document = JSON.parse((await flowerbed('trace', 'fixtures/first', '--packet', '14', '--json')).out)
  expect(document).toMatchObject({ packets: [{ packet: 14, port: 'p0' }], drops: { filter: expect.any(Number) } })
  expect(document.packets[0].steps.map((s: { step: string }) => s.step)).toEqual([
    'receive',
    'hook',
    'lookup',
    'verdict',
    'drop',
  ])
})

test('replay says what became of the packets', slow, async () => {
  const said = await flowerbed('replay', 'fixtures/first')
  expect(said).toMatchObject({ status: 0, err: '' })
  // The README shows this very output.
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`\n\`\`\`\n${said.out}\`\`\`\n`)
})

test('the key that the README shows is the one that there is', () => {
  const file = readFileSync(join(root, 'src/match/num_of_vlans.ts'), 'utf8')
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`\n\`\`\`ts\n${file}\`\`\`\n`)
})

test('--json is one document on stdout, --out a folder of results', slow, async () => {
  const said = await flowerbed('replay', 'fixtures/first', '--json', '--out', join(dir, 'first'))
  expect(said).toMatchObject({ status: 0, err: '' })
  expect(JSON.parse(said.out)).toMatchObject({ packets: { in: 23 }, ports: { p0: {}, p1: {} } })
  expect(readdirSync(join(dir, 'first')).sort()).toEqual([
    'filters.json',
    'log.txt',
    'out-p0.pcap',
    'out-p1.pcap',
    'summary.json',
  ])
})

test('what a script prints goes to stdout where nothing else does', slow, async () => {
  const shown = 'neigh-goes-and-comes'
  expect((await flowerbed('replay', `fixtures/${shown}`)).out).toMatch(/^filter protocol ip pref 10 flower/)
  expect(await flowerbed('replay', `fixtures/${shown}`, '--out', join(dir, shown))).toMatchObject({
    status: 0,
    out: '',
    err: '',
  })
})

test('a damaged capture: 1, and where', slow, async () => {
  const said = await flowerbed('replay', 'fixtures/damaged/record-cut')
  expect(said.status).toBe(1)
  expect(said.err).toBe(
    'fixtures/damaged/record-cut/in-p0.pcap: damaged at byte 258: record 4 is cut short: 46 of 78 bytes are there\n',
  )
})

test('bad input: 2, where, and no result', slow, async () => {
  const out = join(dir, 'nothing')
  const wrong = await flowerbed('replay', 'fixtures/mistakes/unknown-key', '--out', out)
  expect(wrong).toMatchObject({ status: 2, out: '' })
  expect(wrong.err).toMatch(/^rules\.tc:2: /)
  expect((await flowerbed('replay', 'fixtures/refused/link-type-cooked', '--out', out)).status).toBe(2)
  expect(existsSync(out) ? readdirSync(out) : []).toEqual([])
})

test('a folder that cannot be made: the system refused', slow, async () => {
  writeFileSync(join(dir, 'file'), '')
  const said = await flowerbed('replay', 'fixtures/first', '--out', join(dir, 'file/below'))
  expect(said.status).toBe(2)
  expect(said.err).toMatch(/not a directory/)
})
