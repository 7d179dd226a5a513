// An explorer on a thread of its own, for explore_all.ts: an explorer waits for its threads, one of which runs at a time, so
// that one core is what it uses, and another core takes another explorer. It stays on that core, and so do its threads, who
// inherit that: to hand the turn to a thread on another core costs a third more.
//
//   ask { url, name, bounds } ──▶ explore ──▶ answer: the report, or what the scenario could not begin with
import { onParentMessage, postParent, threadData } from '../sync/thread.ts'
import { setAffinity } from '../sys/libc.ts'
import { SysError } from '../sys/sys_error.ts'
import { type Bounds, type Report, startExplorer } from './explore.ts'

/** What it is asked for. */
export interface Ask {
  readonly url: string
  readonly name: string
  readonly bounds: Bounds
}

export type Answer = Report | { readonly error: string }

try {
  setAffinity(threadData<number>())
} catch (e) {
  if (!(e instanceof SysError)) throw e // a core that this process may not use: it goes wherever it is put
}
const explorer = startExplorer()
onParentMessage((message) => {
  const { url, name, bounds } = message as Ask
  explorer.explore(new URL(url), name, bounds).then(
    (report) => postParent(report satisfies Answer),
    (e: unknown) => postParent({ error: String(e) } satisfies Answer),
  )
})
