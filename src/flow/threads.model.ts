// What several control threads do at once to one table: the bodies of threads.test.ts.

import { runWork } from '../encap/encap.ts'
import { reclaim } from '../memory/pool.ts'
import { leave } from '../memory/threads.ts'
import { load } from '../sync/atomic.ts'
import { beginReading, endReading } from './context.ts'
import { lookup } from './lookup.ts'
import { ingressOf, makeWorld, type World } from './world.model.ts'

export interface Job {
  memory: WebAssembly.Memory
  /** Byte address of a word that the threads meet at; behind it one for each thread, its round. */
  gate: number
  threads: number
  rounds: number
  /** Of what is random; printed with a failure. */
  seed: number
}

/** All threads begin together. */
function meet(w: World, job: Job): void {
  const at = job.gate >> 2
  Atomics.add(w.a.m, at, 1)
  while (load(w.a.m, at) < job.threads) Atomics.wait(w.a.m, at, load(w.a.m, at), 1)
}

function open(job: Job): World {
  const w = makeWorld({ memory: job.memory })
  meet(w, job)
  return w
}

/** The error's first line, '' when it was done. */
function attempt(w: World, line: string): string {
  try {
    w.tc(line)
    return ''
  } catch (e) {
    return (e as Error).message.split('\n')[0]
  }
}

/** Results by message. */
export type Tally = Record<string, number>
const count = (t: Tally, what: string): void => {
  t[what] = (t[what] ?? 0) + 1
}

function close(w: World): void {
  reclaim(w.a)
  leave(w.a)
}

const F = 'tc filter add dev p0 ingress protocol ip pref 10'

/** Each thread its own keys, all in one prio and mask: nobody is refused. */
export function ownKeys(job: Job, index: number): Tally {
  const w = open(job)
  const t: Tally = {}
  for (let i = 0; i < job.rounds; i++) {
    count(t, attempt(w, `${F} flower dst_ip 10.${index}.${i >> 8}.${i & 255} action mirred egress redirect dev p1`))
  }
  close(w)
  return t
}

/** All threads the same keys: of each key one gets in. */
export function sameKeys(job: Job): Tally {
  const w = open(job)
  const t: Tally = {}
  for (let i = 0; i < job.rounds; i++) {
    count(t, attempt(w, `${F} flower dst_ip 10.0.${i >> 8}.${i & 255} action gact drop`))
  }
  close(w)
  return t
}

/** All threads delete the same handles: of each one is deleted. */
export function sameDeletes(job: Job): Tally {
  const w = open(job)
  const t: Tally = {}
  for (let i = 1; i <= job.rounds; i++) {
    count(t, attempt(w, `tc filter del dev p0 ingress protocol ip pref 10 handle ${i} flower`))
  }
  close(w)
  return t
}

/** Everything at once, over few keys, masks, prefs, chains and shared actions, so that all of them come and go. */
export function turmoil(job: Job, index: number): Tally {
  const w = open(job)
  const t: Tally = {}
  let seed = job.seed + index
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return (seed >>> 8) % n
  }
  const key = new Int32Array(128)
  for (let i = 0; i < job.rounds; i++) {
    w.a.m[(job.gate >> 2) + 1 + index] = i
    const where = `dev p0 ingress protocol ip chain ${random(3)} pref ${1 + random(3)}`
    const match = `dst_ip 10.0.0.${random(4)}/${[32, 24, 16][random(3)]}`
    const action = [
      'action drop',
      `action goto chain ${random(4)}`,
      `action pass index ${1 + random(3)}`,
      'action vlan push id 5 action mirred egress redirect dev p2',
      `action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.${8 + random(2)} id ${random(3)} action mirred egress redirect dev vxlan0`,
    ][random(5)]
    const verb = ['add', 'add', 'replace', 'del', 'del', 'del pref', 'show', 'actions', 'chain', 'look'][random(10)]
    const handle = `handle ${1 + random(5)}`
    if (verb === 'add' || verb === 'replace') {
      const line = `tc filter ${verb} ${where} ${verb === 'replace' ? handle : ''} flower ${match} ${action}`
      count(t, `${verb}: ${attempt(w, line)}`)
    } else if (verb === 'del') count(t, `del: ${attempt(w, `tc filter del ${where} ${handle} flower`)}`)
    else if (verb === 'del pref')
      count(t, `del pref: ${attempt(w, `tc filter del ${where.replace(' protocol ip', '')}`)}`)
    else if (verb === 'show') count(t, `show: ${attempt(w, 'tc -s filter show dev p0 ingress')}`)
    else if (verb === 'actions') {
      count(
        t,
        `actions: ${attempt(w, `tc actions replace action ${['drop', 'pass'][random(2)]} index ${1 + random(3)}`)}`,
      )
      count(t, `actions: ${attempt(w, `tc actions del action gact index ${1 + random(3)}`)}`)
    } else if (verb === 'chain') {
      count(t, `chain: ${attempt(w, `tc chain ${['add', 'del'][random(2)]} dev p0 ingress chain ${random(3)}`)}`)
    } else {
      beginReading(w.a)
      lookup(w.a, ingressOf(w, 'p0'), 0x0008, key)
      endReading(w.a)
    }
    // The neighbours of the tunnels flap meanwhile, and thread 0 is the event worker.
    if (index === 0) {
      const nud = random(2) === 0 ? 'permanent' : 'failed'
      if (random(4) === 0) {
        attempt(w, `ip neigh replace 10.0.1.${8 + random(2)} lladdr 02:00:00:00:09:0${random(10)} nud ${nud} dev p1`)
      }
      w.clock.now = 1000 + i
      runWork(w.a, w.clock.now)
    }
  }
  close(w)
  return t
}
