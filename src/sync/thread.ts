// Starts a TypeScript module on a worker thread: the only file that knows `worker_threads`.
//
// A thread's entry is named by its source, `new URL('./worker.ts', import.meta.url)`. From a build it is the .js beside
// it. From source, Node 20 cannot load .ts on a worker, even when the parent can (tsx issue 354): an eval worker
// registers tsx first, then imports the entry. Works under tsx, under vitest and from dist/.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isMainThread, parentPort, receiveMessageOnPort, threadId, Worker, workerData } from 'node:worker_threads'

export { isMainThread }

interface Boot {
  readonly entry: string
  readonly tsx: string
  readonly data: unknown
}

const boot = `
const { entry, tsx } = require('node:worker_threads').workerData
const fail = (e) => setImmediate(() => { throw e })
if (tsx === '') import(entry).catch(fail)
else import(tsx).then(({ register }) => { register(); return import(entry) }).catch(fail)
`

/** A running thread, as the one who started it sees it. */
export interface Thread {
  /** Its `self`: how lock words and supervision records name it. */
  readonly self: number
  /** Settles when the thread has ended, however it ended; `error` is what it threw. */
  readonly ended: Promise<{ readonly code: number; readonly error?: Error }>
  /** Sends it a message (threads that share memory seldom need to). */
  post(message: unknown): void
  onMessage(f: (message: unknown) => void): void
  onceMessage(f: (message: unknown) => void): void
  /** Ends it wherever it is; resolves when it is gone. */
  terminate(): Promise<unknown>
  /** The process may end while the thread still runs. */
  unref(): void
}

/** tsx beside us, not beside the working directory; require finds its CommonJS face, whose register() does not work. */
const tsxLoader = (): string =>
  pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/\.cjs$/, '.mjs'),
  ).href

/** Runs the module at `entry` on a new thread, with `data` (structured clone; shared memory stays shared). */
export function spawn(entry: URL, data?: unknown, name?: string): Thread {
  const source = import.meta.url.endsWith('.ts')
  const href = source ? entry.href : entry.href.replace(/\.ts$/, '.js')
  const tsx = source ? tsxLoader() : ''
  const worker = new Worker(boot, {
    eval: true,
    workerData: { entry: href, tsx, data } satisfies Boot,
    execArgv: [], // vitest's own arguments must not be passed on
    ...(name !== undefined ? { name } : {}),
  })
  let error: Error | undefined
  worker.on('error', (e) => {
    error = e as Error
  })
  const ended = new Promise<{ code: number; error?: Error }>((resolve) => {
    worker.on('exit', (code) => resolve(error === undefined ? { code } : { code, error }))
  })
  return {
    self: (worker.threadId & 0xffffff) + 1,
    ended,
    post: (message) => worker.postMessage(message),
    onMessage: (f) => {
      worker.on('message', f)
    },
    onceMessage: (f) => {
      worker.once('message', f)
    },
    terminate: () => worker.terminate(),
    unref: () => worker.unref(),
  }
}

/** In a spawned thread: the data it was started with. */
export const threadData = <T>(): T => (workerData as Boot | null)?.data as T

/** In a spawned thread: sends a message to who started it. */
export const postParent = (message: unknown): void => {
  parentPort?.postMessage(message)
}

/** In a spawned thread: receives what `post` sends. */
export const onParentMessage = (f: (message: unknown) => void): void => {
  parentPort?.on('message', f)
}

/**
 * In a spawned thread that never returns to its event loop, because it sleeps on a word of shared memory: the next of what
 * `post` sent, undefined when there is none. Not together with onParentMessage.
 */
export const takeParentMessage = (): unknown =>
  parentPort === null ? undefined : (receiveMessageOnPort(parentPort)?.message as unknown)

/** This thread in lock words and supervision records: unique in the process, never 0. */
export const self = (threadId & 0xffffff) + 1
