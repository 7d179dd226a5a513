// The notifier thread: follows the kernel's links, addresses, routes and neighbours into the switch's tables, and asks the
// kernel for the neighbours that the switch wants.
//
//   everything is read ─▶ [ wait for news, 20 ms at most · tell them to the mirror · ask for who is wanted ] …
//
// Whatever follows from a change (flows that go fast or slow, headers that are replaced) is posted to the switch thread by
// the tables' listeners. It holds no RCU pointer while it waits, and waits for nothing but the socket. It may die at any time:
// main frees its locks and starts another one, which reads everything anew (notifier.ts).

import { beginReading, endReading } from '../flow/context.ts'
import { attachArena } from '../memory/arena.ts'
import { reclaim } from '../memory/pool.ts'
import { leave } from '../memory/threads.ts'
import { openControl } from '../switch/control.ts'
import { postParent, takeParentMessage, threadData } from '../sync/thread.ts'
import { FOR_NOTIFIER, keepCapabilities } from './capabilities.ts'
import { openClock } from './clock.ts'
import { Journalled } from './journalled.ts'
import { openMirror, readKernel, refreshProbeTime } from './kernel_mirror.ts'
import type { Say } from './live_ports.ts'
import { openNews } from './news.ts'
import * as P from './post.ts'
import { END, type Followed, type NotifierThreadData, type Said, type Uplinks } from './protocol.ts'

/** How long it waits for news before it looks who is wanted, ms. */
const WAIT = 20
/** How often it asks for the delay_first_probe_time of devices, whose change nobody tells, ms. */
const PROBE_TIMES = 5000

function follow(data: NotifierThreadData): void {
  const a = attachArena(data.memory)
  const clock = openClock(data.began)
  const now = (): number => Math.floor(clock() / 1e6)
  const say: Say = (log, what, message) => postParent({ log, what, message } satisfies Said)
  const control = openControl(a, { now })
  const post = new P.Post()
  openNews(a, now, data.listening, (message) => post.add(P.NEWS, 0, 0, 0, message))
  const journal = new Journalled(control, data.journal, say)
  const { mirror, notifier } = openMirror(control, data, journal, say)
  const reading = (f: () => void): void => {
    const began = beginReading(a)
    f()
    if (began) endReading(a)
  }
  const flush = (): void => {
    const message = post.take()
    if (message !== null) postParent(message)
  }

  keepCapabilities(FOR_NOTIFIER)
  reading(() => {
    readKernel(control, mirror, notifier)
    if (data.again) journal.aside(() => true)
  })
  postParent({ followed: mirror.devices().length } satisfies Followed)
  let overruns = 0
  let nextProbeTimes = now() + PROBE_TIMES
  for (;;) {
    const message = takeParentMessage()
    if (message === END) break
    if (message !== undefined) {
      mirror.setPorts(new Map((message as Uplinks).uplinks))
      reading(() => readKernel(control, mirror, notifier))
    }
    notifier.wait(WAIT)
    reading(() => {
      notifier.run()
      mirror.asked((family, address, ifindex) => notifier.use(family, address, ifindex))
      if (now() < nextProbeTimes) return
      nextProbeTimes = now() + PROBE_TIMES
      refreshProbeTime(control, mirror, notifier)
    })
    if (notifier.overruns !== overruns) {
      overruns = notifier.overruns
      say('warn', { overruns }, 'events of the kernel were lost: everything was read anew')
    }
    flush()
    reclaim(a)
  }
  notifier.close()
  journal.close()
  leave(a)
}

const data = threadData<NotifierThreadData | undefined>()
if (data?.role === 'notifier') follow(data)
