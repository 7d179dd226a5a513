// The map of src/, kept by a test: which folder may import which, which file alone may touch a foreign thing, and
// that every shared field which names a guard names one that exists. The tables are the documentation.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const src = fileURLToPath(new URL('.', import.meta.url))

/** The small tools of tc/ through which the text halves of the catalogues speak: they know wire/ and each other, no more. */
const TC_TEXT = [
  'args',
  'printer',
  'language_error',
  'protocol_text',
  'number_text',
  'address_text',
  'handle_text',
  'stats_text',
].map((f) => `tc/${f}.ts`)

/**
 * Lowest first. A folder imports itself, the folders that its row names, all of them above it, and single files of
 * others where the row names the file.
 */
const MAY_IMPORT: [folder: string, ...may: string[]][] = [
  ['wire'],
  ['sync'],
  ['sys'],
  ['memory', 'sync'],
  ['testing', 'sync', 'sys', 'memory', 'wire'],
  ['port', 'sync', 'sys', 'memory', 'wire'],
  ['net', 'sync', 'memory', 'wire'],
  ['conntrack', 'sync', 'memory', 'wire', ...TC_TEXT],
  ['tunnel', 'sync', 'memory', 'wire', 'net', ...TC_TEXT],
  ['match', 'memory', 'wire', ...TC_TEXT],
  ['action', 'sync', 'memory', 'wire', 'net', ...TC_TEXT],
  ['encap', 'sync', 'memory', 'wire', 'net', 'tunnel'],
  ['flow', 'sync', 'memory', 'wire', 'net', 'tunnel', 'match', 'action', 'encap'],
  ['datapath', 'sync', 'memory', 'wire', 'net'],
  ['host', 'sync', 'memory', 'wire', 'net', 'tunnel', 'encap', 'datapath'],
  ['tc', 'wire', 'match', 'action', 'tunnel'],
  ['rtnl', 'sync', 'sys', 'memory', 'wire'],
  [
    'switch',
    'sync',
    'memory',
    'wire',
    'net',
    'conntrack',
    'tunnel',
    'match',
    'action',
    'encap',
    'flow',
    'datapath',
    'host',
    'rtnl',
  ],
  [
    'replay',
    'sync',
    'memory',
    'wire',
    'net',
    'conntrack',
    'tunnel',
    'encap',
    'flow',
    'datapath',
    'port',
    'tc',
    'rtnl',
    'switch',
  ],
  [
    'bench',
    'sync',
    'sys',
    'memory',
    'wire',
    'net',
    'tunnel',
    'encap',
    'flow',
    'datapath',
    'port',
    'tc',
    'rtnl',
    'switch',
    'replay',
  ],
  [
    'trace',
    'sync',
    'memory',
    'wire',
    'net',
    'match',
    'action',
    'encap',
    'flow',
    'datapath',
    'port',
    'tc',
    'rtnl',
    'switch',
    'replay',
  ],
  [
    'daemon',
    'sync',
    'sys',
    'memory',
    'wire',
    'net',
    'conntrack',
    'tunnel',
    'encap',
    'flow',
    'datapath',
    'port',
    'tc',
    'rtnl',
    'switch',
    'replay',
    'trace',
  ],
  [
    'cli',
    'sync',
    'sys',
    'memory',
    'wire',
    'conntrack',
    'port',
    'tc',
    'rtnl',
    'switch',
    'replay',
    'bench',
    'trace',
    'daemon',
  ],
]

/** Packages, and things of the platform, that one file alone may use: replacing one is a change of that file. */
const ONLY_IMPORTER: Record<string, string> = {
  koffi: 'sys/libc.ts',
  'raw-socket': 'port/raw_ip_process.ts',
  'pcap-parser': 'port/capture/pcap_parser.ts',
  commander: 'cli/main.ts',
  'cli-progress': 'cli/progress.ts',
  yaml: 'daemon/config.ts',
  zod: 'daemon/config.ts',
  pino: 'daemon/log.ts',
  'hono/streaming': 'daemon/http.ts',
  'prom-client': 'daemon/metrics.ts',
  hono: 'daemon/http.ts',
  '@hono/node-server': 'daemon/http.ts',
  uplot: 'daemon/http.ts',
  'node:worker_threads': 'sync/thread.ts',
  worker_threads: 'sync/thread.ts',
  'tsx/esm/api': 'sync/thread.ts',
}

/** Words that belong to some folders or files only, with the reason. */
const ONLY_IN: [word: RegExp, places: string[], why: string][] = [
  [/\bAtomics\./, ['sync/atomic.ts'], 'one file says Atomics, so that the explorer sees every step'],
  [/\bconsole\./, ['cli/'], 'only programs speak to people'],
  [/\bprocess\.env\b/, ['cli/', 'daemon/'], 'configuration enters at the top'],
  [
    /\bDate\.now\(|\bnew Date\(|\bperformance\.now\(|\bhrtime\b/,
    ['replay/', 'bench/', 'daemon/', 'cli/'],
    'time is an argument below the programs',
  ],
]

interface Source {
  readonly file: string
  readonly folder: string
  readonly text: string
  /** Without comments. */
  readonly code: string
  readonly isTest: boolean
}

const all: Source[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .map((f) => f.replaceAll('\\', '/'))
  .filter((f) => f.endsWith('.ts') && f.includes('/'))
  .sort()
  .map((file) => {
    const text = readFileSync(join(src, file), 'utf8')
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
    return {
      file,
      folder: file.split('/')[0],
      text,
      code,
      isTest: /\.(test|bench|model|stress|fixture)\.ts$/.test(file),
    }
  })
const product = all.filter((s) => !s.isTest && s.folder !== 'testing')

/** What a file imports, statically or not. */
function imports(s: Source): string[] {
  const statements = s.code.matchAll(/^(?:import|export)\s(?:[^'`]*?\sfrom\s+)?'([^'\n]+)'/gm)
  return [...statements, ...s.code.matchAll(/\bimport\(\s*'([^'\n]+)'/g)].map((m) => m[1])
}

/** A relative import as a path below src/. */
function target(s: Source, to: string): string {
  return normalize(join(dirname(s.file), to))
}

test('the table is a DAG, lowest row first', () => {
  MAY_IMPORT.forEach(([folder, ...may], i) => {
    const below = MAY_IMPORT.slice(0, i).map((row) => row[0])
    for (const m of may) if (!m.includes('/')) expect(below, folder).toContain(m)
  })
})

describe('imports', () => {
  test.each(all.filter((s) => !s.isTest).map((s) => [s.file, s] as const))('%s', (_, s) => {
    const row = MAY_IMPORT.find(([folder]) => folder === s.folder)
    expect(row, `src/${s.folder}/ has no row in the import table`).toBeDefined()
    for (const to of imports(s)) {
      if (!to.startsWith('.')) continue
      const path = target(s, to)
      const allowed = path.split('/')[0] === s.folder || row!.includes(path.split('/')[0]) || row!.includes(path)
      expect(
        allowed,
        `${s.file} imports ${path}; ${s.folder} may import: ${row!.slice(1).join(' ') || 'nothing'}`,
      ).toBe(true)
    }
  })
})

test.each(all.filter((s) => TC_TEXT.includes(s.file)).map((s) => [s.file, s] as const))(
  '%s stays below the catalogues',
  (_, s) => {
    for (const to of imports(s)) if (!target(s, to).startsWith('wire/')) expect(TC_TEXT).toContain(target(s, to))
  },
)

// The datapath is compiled by asc, which knows no Node and no types of ours: constants of the layout, nothing else.
test.each(all.filter((s) => s.file.startsWith('datapath/chip/')).map((s) => [s.file, s] as const))(
  '%s: the chip imports the layout and itself',
  (_, s) => {
    for (const to of imports(s)) expect(target(s, to)).toMatch(/^(datapath\/chip|memory\/layout)\//)
  },
)

describe('one importer for each foreign package', () => {
  const declared = JSON.parse(readFileSync(join(src, '../package.json'), 'utf8'))
  const names = Object.keys({ ...declared.dependencies, ...declared.optionalDependencies })

  test('every package that the product needs is in the table', () => {
    expect(Object.keys(ONLY_IMPORTER)).toEqual(expect.arrayContaining(names))
  })

  test.each(product.map((s) => [s.file, s] as const))('%s', (_, s) => {
    for (const to of imports(s)) {
      if (to.startsWith('.')) continue
      const only = ONLY_IMPORTER[to]
      if (only !== undefined) expect(s.file, `only src/${only} imports ${to}`).toBe(only)
      else expect(to, `${s.file}: not in the table of packages`).toMatch(/^node:/)
    }
  })
})

describe('words that have their place', () => {
  test.each(product.map((s) => [s.file, s] as const))('%s', (_, s) => {
    for (const [word, places, why] of ONLY_IN) {
      if (places.some((p) => s.file === p || (p.endsWith('/') && s.file.startsWith(p)))) continue
      expect(s.code.match(word)?.[0], `${s.file}: ${why}`).toBeUndefined()
    }
  })
})

// A field of the shared layout says who may touch it: set before publication, one atomic word, under a lock, read under
// RCU and written under a lock, or one worker's own. The lock must be one that lock_order.ts ranks.
describe('guards of the shared fields', () => {
  const order = all.find((s) => s.file === 'sync/lock_order.ts')?.text ?? ''
  const locks = new Set([...order.matchAll(/^ {2}'(\w+)',$/gm)].map((m) => m[1]))

  test.each(all.filter((s) => s.file.startsWith('memory/layout/')).map((s) => [s.file, s] as const))('%s', (_, s) => {
    for (const comment of s.text.match(/\/\*\*[\s\S]*?\*\//g) ?? [])
      for (const [, tag, lock] of comment.matchAll(/@(\w+)(?: (\w+))?/g)) {
        expect(['constant', 'atomic', 'worker', 'under', 'rcu'], comment).toContain(tag)
        if (tag === 'under' || tag === 'rcu')
          expect(locks.has(lock), `${comment}: lock_order.ts knows no ${lock}`).toBe(true)
      }
    // Both compilers read these files: integer constants only.
    for (const line of s.code.split('\n'))
      if (line.trim() !== '')
        expect(line).toMatch(/^(export const [A-Z]\w* = [-\w* +<|()]+|import \{.*\} from '\.\/\w+\.ts')$/)
  })
})
