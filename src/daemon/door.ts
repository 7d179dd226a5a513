// The netlink door: the preloaded library through which unmodified programs speak to the daemon (shell/netlink_door.c).
//
// It is compiled when first needed, by the machine's C compiler, into the user's cache, under a name made from its source:
// a new version of the source is a new file. Where there is no cache to write, a private temporary folder serves.

import { execFileSync, type SpawnSyncReturns } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, statSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The library cannot be had; the message says what to do. */
export class DoorError extends Error {
  override readonly name = 'DoorError'
}

const SOURCE = fileURLToPath(new URL('./shell/netlink_door.c', import.meta.url))

/** Path of the library, built when it is not there yet. Throws DoorError. */
export function netlinkDoor(): string {
  const compiler = process.env.CC ?? 'cc'
  const name = `netlink_door-${createHash('sha256').update(readFileSync(SOURCE)).update(process.arch).digest('hex').slice(0, 16)}.so`
  const folder = cacheFolder()
  const library = join(folder, name)
  if (existsSync(library)) return library
  const partial = join(folder, `${name}.${process.pid}`)
  try {
    execFileSync(compiler, ['-O2', '-shared', '-fPIC', '-o', partial, SOURCE, '-ldl', '-pthread'], { stdio: 'pipe' })
  } catch (e) {
    const { code, stderr } = e as NodeJS.ErrnoException & SpawnSyncReturns<Buffer>
    if (code === 'ENOENT')
      throw new DoorError(
        `no C compiler (${compiler}): the shell needs one to build the library that leads tc and ip to the daemon; ` +
          'install gcc or clang, or name yours in CC. Without one, "flowerbed tc" and "flowerbed ip" do the same.',
      )
    throw new DoorError(`${compiler} cannot build ${SOURCE}: ${String(stderr).trim() || String(e)}`)
  }
  renameSync(partial, library)
  return library
}

/** A folder of this user's own: what lies there is loaded into programs. */
function cacheFolder(): string {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'flowerbed')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const s = statSync(folder)
    if (s.uid === process.getuid?.() && (s.mode & 0o022) === 0) return folder
  } catch {}
  return mkdtempSync(join(tmpdir(), 'flowerbed-'))
}

/** The environment of a program that is to speak to the daemon at `socket`. */
export function doorEnvironment(socket: string, library = netlinkDoor()): NodeJS.ProcessEnv {
  const before = process.env.LD_PRELOAD
  return { ...process.env, LD_PRELOAD: before ? `${library}:${before}` : library, FLOWERBED_RTNETLINK: socket }
}
