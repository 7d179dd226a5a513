// The chip's WebAssembly module: found, built when it is older than its sources, compiled once for each thread.
//
// A package has it in dist/. In a checkout (tsx, vitest) the sources are at hand, and asc builds it again when one of
// them is younger, so that a test never runs another chip than the one it reads.
//
// There are two: the one that carries packets, and one of the same sources that tells a trace what it does.

import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = ((): string => {
  let dir = here
  while (!existsSync(join(dir, 'package.json')) && dirname(dir) !== dir) dir = dirname(dir)
  return dir
})()

/** Newest change among the files of a folder, 0 when there is none. */
function newest(folder: string): number {
  if (!existsSync(folder)) return 0
  return Math.max(0, ...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs))
}

/** Builds into a file of its own first: other threads and programs may be doing the same. */
function build(sources: string, file: string, tracing: boolean): void {
  const asc = join(dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')), 'bin/asc.js')
  mkdirSync(dirname(file), { recursive: true })
  const fresh = `${file}.${randomUUID()}`
  const args = [asc, join(sources, 'index.ts'), '--config', join(sources, 'asconfig.json'), '--outFile', fresh]
  if (tracing) args.push('--use', 'abort=', '--use', 'TRACING=1')
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`the datapath does not compile:\n${stderr}`)
  renameSync(fresh, file)
}

const compiled = new Map<boolean, WebAssembly.Module>()

/** The compiled module; with `tracing` the one that imports `env.trace`. Throws when it can be neither found nor built. */
export function chipModule(tracing = false): WebAssembly.Module {
  const known = compiled.get(tracing)
  if (known) return known
  const file = join(root, tracing ? 'dist/chip_trace.wasm' : 'dist/chip.wasm')
  const sources = join(root, 'src/datapath/chip')
  const youngest = import.meta.url.endsWith('.ts')
    ? Math.max(newest(sources), newest(join(root, 'src/memory/layout')))
    : 0
  if (!existsSync(file) || statSync(file).mtimeMs < youngest) build(sources, file, tracing)
  const module = new WebAssembly.Module(readFileSync(file))
  compiled.set(tracing, module)
  return module
}
