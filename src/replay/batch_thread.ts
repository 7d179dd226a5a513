// A control worker of a replay: parses chunks of a batch while others parse theirs, and commits them when it is their turn.
//
// Which chunk: the next that nobody has (NEXT). When to commit it: when TICKET has its number, that is when every line
// before it is done. So the tables, and what each line is told, are those of one thread doing line after line. What
// follows from a request (the event worker's works) is done behind each, as a Switch does; who has the ticket is the only
// one who runs works, because the switch's own thread waits meanwhile.

import { runWork } from '../encap/encap.ts'
import { attachArena } from '../memory/arena.ts'
import { reclaim } from '../memory/pool.ts'
import { leave } from '../memory/threads.ts'
import { netdevByIndex, netdevByName, netdevIfindex, netdevName } from '../net/netdev.ts'
import { ask, openControl } from '../switch/control.ts'
import { add, load, store, wait, wake } from '../sync/atomic.ts'
import { onParentMessage, postParent, threadData } from '../sync/thread.ts'
import { type Command, parseCommand } from '../tc/command.ts'
import { KnownLines } from '../tc/known_lines.ts'
import { LanguageError } from '../tc/language_error.ts'
import { type Kernel, perform } from './execute.ts'

/** Lines of a chunk. */
export const CHUNK = 64

// Words of ctl.
export const NEXT = 0
export const TICKET = 1
/** Number of the line, from 1, that ended the batch; 0 while none. */
export const ENDED = 2
export const CTL_WORDS = 4

export interface BatchThreadData {
  readonly batch: true
  readonly memory: WebAssembly.Memory
}

/** A batch, as its workers get it. */
export interface BatchJob {
  readonly ctl: Int32Array
  /** Lines in UTF-8, each with its line feed, their words apart by NUL. */
  readonly text: Uint8Array
  /** Where line i begins; one more than lines. */
  readonly starts: Int32Array
  /** 1: a refusal of line i is a result; else it ends the batch. */
  readonly forgiving: Uint8Array
  /** Milliseconds of the switch's clock. */
  readonly now: number
}

/** What a line had to say, if anything. */
export interface BatchEntry {
  readonly line: number
  readonly printed: string
  /** Why it was refused; null when it was not. */
  readonly failed: string | null
}

let now = 0

function open(data: BatchThreadData): void {
  const a = attachArena(data.memory)
  const c = openControl(a, { now: () => now })
  const kernel: Kernel = {
    devices: {
      indexOf: (name) => {
        const dev = netdevByName(a, name)
        return dev === 0 ? 0 : netdevIfindex(a, dev)
      },
      nameOf: (i) => {
        const dev = netdevByIndex(a, i)
        return dev === 0 ? `if${i}` : netdevName(a, dev)
      },
    },
    ask: (message, reply) => {
      try {
        return ask(c, message, reply)
      } finally {
        runWork(a, now)
      }
    },
  }
  const known = new KnownLines(kernel.devices)
  onParentMessage((message) => {
    if (message === null) {
      leave(a)
      process.exit()
    }
    const job = message as BatchJob
    now = job.now
    const said: BatchEntry[] = []
    const last = job.forgiving.length
    for (let chunk = add(job.ctl, NEXT, 1); chunk * CHUNK < last; chunk = add(job.ctl, NEXT, 1)) {
      const parsed = parse(job, chunk, Math.min(last, (chunk + 1) * CHUNK), kernel, known)
      for (let t = load(job.ctl, TICKET); t !== chunk; t = load(job.ctl, TICKET)) wait(job.ctl, TICKET, t)
      commit(job, chunk, parsed, kernel, said)
      store(job.ctl, TICKET, chunk + 1)
      wake(job.ctl, TICKET)
    }
    reclaim(a)
    postParent(said)
  })
}

const decoder = new TextDecoder()

function parse(
  job: BatchJob,
  chunk: number,
  end: number,
  kernel: Kernel,
  known: KnownLines,
): (Command | LanguageError)[] {
  const parsed: (Command | LanguageError)[] = []
  for (let i = chunk * CHUNK; i < end; i++) {
    const from = job.starts[i]
    const met = known.recall(job.text, from)
    if (met !== undefined) {
      parsed.push({ ...met, requests: [met.requests[0].slice()] })
      continue
    }
    const to = job.starts[i + 1] - 1
    const words = decoder.decode(job.text.slice(from, to)).split('\0')
    try {
      const command = parseCommand(words, kernel.devices)
      known.meet(job.text, from, to, words, command)
      parsed.push(command)
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      parsed.push(e)
    }
  }
  return parsed
}

function commit(
  job: BatchJob,
  chunk: number,
  parsed: readonly (Command | LanguageError)[],
  kernel: Kernel,
  said: BatchEntry[],
): void {
  for (let k = 0; k < parsed.length; k++) {
    if (load(job.ctl, ENDED) !== 0) return
    const line = chunk * CHUNK + k
    try {
      const p = parsed[k]
      if (p instanceof LanguageError) throw p
      const printed = perform(kernel, p)
      if (printed !== '') said.push({ line, printed, failed: null })
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      said.push({ line, printed: '', failed: e.message })
      if (job.forgiving[line] === 0) store(job.ctl, ENDED, line + 1)
    }
  }
}

const data = threadData<BatchThreadData | undefined>()
if (data?.batch) open(data)
