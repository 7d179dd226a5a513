// Runs one function on several real threads at once, for stress tests: the explorer's rough brother.
//
// The function is an export of a module, because a thread can be given a module but not a closure. It gets the data
// (shared memory stays shared) and its index, and returns something that can be cloned.
import { postParent, spawn, threadData } from '../sync/thread.ts'

interface Job {
  readonly url: string
  readonly name: string
  readonly data: unknown
  readonly index: number
}

type Body = (data: unknown, index: number) => unknown

/** Results in order of index. Rejects with the first error of any thread. */
export async function onThreads<T>(url: URL, name: string, count: number, data: unknown): Promise<T[]> {
  const threads = Array.from({ length: count }, (_, index) =>
    spawn(new URL('./on_threads.ts', import.meta.url), { url: url.href, name, data, index } satisfies Job),
  )
  return await Promise.all(
    threads.map(async (t, index) => {
      let result: T | undefined
      t.onMessage((message) => {
        result = (message as { result: T }).result
      })
      const { error } = await t.ended
      if (error !== undefined) throw new Error(`thread ${index}: ${error.message}`, { cause: error })
      return result as T
    }),
  )
}

const job = threadData<Job | undefined>()
if (job?.url !== undefined && job.name !== undefined) {
  const module = (await import(job.url)) as Record<string, Body>
  postParent({ result: await module[job.name](job.data, job.index) })
}
