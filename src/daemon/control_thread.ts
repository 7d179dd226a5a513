// A control worker: does requests while others do theirs. Any number of them, each on a thread of its own, with its own
// control of the same tables: the parallel `tc` of the mlx5e scheme. What follows from a request (the works that it
// posts) is the switch thread's.
//
// It is asleep in its event loop until main posts a batch. It may die at any time: main frees its locks, answers for it
// and starts another one (threads.ts).

import { attachArena } from '../memory/arena.ts'
import { reclaim } from '../memory/pool.ts'
import { leave } from '../memory/threads.ts'
import { answer, openControl } from '../switch/control.ts'
import { onParentMessage, postParent, threadData } from '../sync/thread.ts'
import { keepCapabilities } from './capabilities.ts'
import { openClock } from './clock.ts'
import { Journalled } from './journalled.ts'
import { type ControlThreadData, END, type Said, type Up } from './protocol.ts'
import { openRequests } from './request_thread.ts'

function open(data: ControlThreadData): void {
  keepCapabilities([])
  const a = attachArena(data.memory)
  const clock = openClock(data.began)
  const now = (): number => Math.floor(clock() / 1e6)
  const control = openControl(a, { now })
  const journal = new Journalled(control, data.journal, say)
  const requests = openRequests(a, data, now, { request: (message) => answer(control, message) }, journal, data.hand)
  onParentMessage((message) => {
    if (message === END) {
      leave(a)
      process.exit()
    }
    requests.take(message as Uint8Array)
    reclaim(a)
  })
  postParent({ up: true } satisfies Up)
}

const say = (log: Said['log'], what: object, message: string): void => postParent({ log, what, message } satisfies Said)

const data = threadData<ControlThreadData | undefined>()
if (data?.role === 'control') open(data)
