// A datapath thread of the encap bench: a worker with packet slots and frames of its own, on tables that all share.
//
// For each message, a length of time, it pumps for as long of its own CPU time, and answers what it did. Between jobs it
// sleeps in its event loop, and is no RCU reader; null ends it.

import { Datapath, type PumpTable } from '../datapath/chip.ts'
import { attachArena } from '../memory/arena.ts'
import { driveWorker } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { onParentMessage, postParent, threadData } from '../sync/thread.ts'
import { cpuTime } from './cpu_time.ts'
import { fillSlots, pumper } from './pumped.ts'

export interface EncapThreadData {
  readonly memory: WebAssembly.Memory
  readonly worker: number
  readonly table: PumpTable
  /** What stands in the slots behind the headers. */
  readonly fill: Uint8Array
}

/** What a job came to. Nanoseconds of this thread; packets that left by a port. */
export interface EncapDone {
  readonly cpu: number
  readonly packets: number
}

const { memory, worker, table, fill } = threadData<EncapThreadData>()
const a = attachArena(memory)
const dp = new Datapath(a, worker)
driveWorker(a, worker)
fillSlots(dp, fill)
const pump = pumper(dp, table)

onParentMessage((message) => {
  if (message === null) {
    leave(a)
    process.exit()
  }
  dp.online()
  const before = cpuTime()
  const packets = pump(message as number)
  postParent({ cpu: cpuTime() - before, packets } satisfies EncapDone)
  dp.offline()
})
