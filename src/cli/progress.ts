// A progress bar on stderr, when stderr is a terminal. The only file that knows cli-progress.
import cliProgress from 'cli-progress'

export interface Progress {
  update(bytes: number, packets: number): void
  stop(): void
}

/** Redrawing is for eyes: ten times a second is enough. */
const INTERVAL_MS = 100

/** A bar that goes to `bytes`; does nothing where nobody looks. */
export function openProgress(bytes: number): Progress {
  if (!process.stderr.isTTY) return { update() {}, stop() {} }
  const bar = new cliProgress.SingleBar({
    stream: process.stderr,
    format: '{bar} {percentage}%  {packets} packets  {duration_formatted}',
    clearOnComplete: true,
    hideCursor: true,
  })
  bar.start(bytes, 0, { packets: 0 })
  let last = 0
  return {
    update(done, packets) {
      const now = Date.now()
      if (now - last < INTERVAL_MS) return
      last = now
      bar.update(done, { packets })
    },
    stop: () => bar.stop(),
  }
}
