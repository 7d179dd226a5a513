// Listening on a Unix socket, as a daemon does: with a file mode, over what a killed predecessor left, never over a living one.
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'

/**
 * Listens at `path` with file mode `mode`; the folder is made when it is not there. Rejects with the system's error:
 * EADDRINUSE when another daemon answers at the path, EACCES, …
 */
export async function listenUnix(server: Server, path: string, mode: number): Promise<void> {
  mkdirSync(dirname(path), { recursive: true })
  await takeAway(path)
  // Nobody may slip in between listen and chmod.
  const before = process.umask(0o177)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      chmodSync(path, mode)
      resolve()
    })
    process.umask(before)
  })
}

/** A socket that a daemon left behind when it was killed is in the way; one that answers is not ours to take. */
async function takeAway(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return
  const dead = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.on('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.on('error', (e: NodeJS.ErrnoException) => resolve(e.code === 'ECONNREFUSED'))
  })
  if (dead) rmSync(path)
}
