// The explorer explored: it finds what is wrong, says how, and its schedules replay.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Explorer, startExplorer } from './explore.ts'

const model = new URL('./explore.model.ts', import.meta.url)
let explorer: Explorer
beforeAll(() => {
  explorer = startExplorer()
})
afterAll(() => explorer.close())

test('two threads of three steps have twenty schedules', async () => {
  // (3 + 3)! / 3! / 3!; a thread's start is a step of its own
  const r = await explorer.explore(model, 'counted', { preemptions: 99 })
  expect(r).toEqual({ schedules: 20, steps: 6, complete: true, failures: [] })
})

test('a lost update needs one preemption, and its schedule replays', async () => {
  expect((await explorer.explore(model, 'lostUpdate', { preemptions: 0 })).failures).toEqual([])
  const r = await explorer.explore(model, 'lostUpdate', { preemptions: 1 })
  expect(r.failures).toEqual([{ schedule: '0*2 1*3 0*1', what: 'counted to 1' }])
  expect(await explorer.replay(model, 'lostUpdate', '0*2 1*3 0*1')).toBe('counted to 1')
  expect(await explorer.replay(model, 'lostUpdate', '1*3 0*3')).toBeUndefined()
  expect(await explorer.replay(model, 'lostUpdate', '1*5')).toContain('not replayable')
  await expect(explorer.replay(model, 'lostUpdate', 'x')).rejects.toThrow('schedule: x')
})

test('errors, deadlocks, loops and locks that are kept are failures', async () => {
  const what = async (name: string): Promise<string> =>
    (await explorer.explore(model, name, { steps: 100 })).failures[0].what
  expect(await what('throws')).toContain('thread 1: Error: deliberate')
  expect(await what('sleeps')).toBe('asleep for ever: thread 0 on word 5')
  expect(await what('sleepsForGood')).toBe('asleep for ever: thread 0 on word 5')
  expect(await what('loops')).toContain('no end after 100 steps')
  expect(await what('keepsLock')).toContain('ended holding chain')
})

test('a thread dies before each of its steps in turn, and the supervisor hears of it', async () => {
  const r = await explorer.explore(model, 'dies', { preemptions: 0, kills: 1, failures: 99 })
  expect(r.complete).toBe(true)
  // Thread 0 makes 0, 1 or 2 of its 3 steps (start, store, store); thread 1 makes 0 or 1 of its 2; or nobody dies.
  expect(new Set(r.failures.map((f) => f.what))).toEqual(new Set(['0 of 2', '1 of 2']))
  expect(r.failures.map((f) => f.schedule)).toContain('0*2 0! 1*2 2*2')
})

test('a wait with a limit ends when nobody can make a step, if the scenario says so', async () => {
  const r = await explorer.explore(model, 'looksAround', { preemptions: 9, failures: 9 })
  expect(r).toMatchObject({ complete: true, failures: [] })
  const lost = '0*3 1*2 0*3' // looks, sleeps, nobody wakes it: its time runs out, it notes that and looks again
  expect(await explorer.replay(model, 'looksAround', lost)).toBeUndefined()
})

test('a scenario that cannot begin says why, and the explorer goes on', async () => {
  await expect(explorer.explore(model, 'none')).rejects.toThrow('no scenario none')
  await expect(explorer.explore(model, 'cannotEnter')).rejects.toThrow('deliberate')
  expect((await explorer.explore(model, 'counted')).failures).toEqual([])
})
