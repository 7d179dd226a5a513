// An explorer on a thread of its own, for explore_all.ts: an explorer waits for its threads, one of which runs at a time, so
// that one core is what it uses, and another core takes another explorer.
//
//   ask { url, name, bounds } ──▶ explore ──▶ answer: the report, or what the scenario could not begin with
import { onParentMessage, postParent } from '../sync/thread.ts'
import { type Bounds, type Report, startExplorer } from './explore.ts'

/** What it is asked for. */
export interface Ask {
  readonly url: string
  readonly name: string
  readonly bounds: Bounds
}

export type Answer = Report | { readonly error: string }

const explorer = startExplorer()
onParentMessage((message) => {
  const { url, name, bounds } = message as Ask
  explorer.explore(new URL(url), name, bounds).then(
    (report) => postParent(report satisfies Answer),
    (e: unknown) => postParent({ error: String(e) } satisfies Answer),
  )
})
