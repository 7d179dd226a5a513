// Lock order, outermost first. A thread may take a lock only when its class ranks below every lock it holds, and never
// two of one class. This table is the documentation; mutex.ts enforces it on every run, debug or not.
//
//   journal                 changes are written down and made one after the other (a daemon that keeps a journal)
//   rtnl                    links, addresses, routes, qdiscs: one request at a time
//     block                 a block's list of chains
//       chain               a chain's prios and its list of masks
//         prio              a prio's flows, its masks and their hash tables
//           unready         flows that wait for a route
//             action        the (kind, index) tables of actions, an action's parameters and users
//               encap_tbl   encap table, encap_entry.flows, flags and header, flow.encaps
//                 neigh     table of neigh hash entries: find-or-create
//                   encap_list   one neigh hash entry's list of encap entries
//                 route     table of route entries (never with neigh)
//   handle                  the (prio, handle) table: a leaf for everybody above
//   fib, addr, neighbour    net/: routing table, addresses, neighbour table
//     defer                 memory/deferred.ts: what waits for a grace period
//       pool                memory/magazine.ts: the shared list of one size class
//
// Ranks follow the drawing from top to bottom, so a branch that is drawn beside another may also nest below it.
// Three rules that a rank cannot say. Nothing waits for a completion holding encap_tbl unless the one who completes
// needs no encap_tbl from then on (init_done, del_hw_done). The last put of an encap entry drops encap_tbl before it
// tears down. Nobody waits for a grace period, with or without a lock.

export interface LockClass {
  readonly name: string
  readonly rank: number
}

const names = [
  'journal',
  'rtnl',
  'block',
  'chain',
  'prio',
  'unready',
  'action',
  'encap_tbl',
  'neigh',
  'encap_list',
  'route',
  'handle',
  'fib',
  'addr',
  'neighbour',
  'defer',
  'pool',
] as const

/** All classes by rank: lockClasses[c.rank] === c. A thread's supervision record has a word for each. */
export const lockClasses: readonly LockClass[] = names.map((name, rank) => ({ name, rank }))

const named = (name: (typeof names)[number]): LockClass => lockClasses[names.indexOf(name)]

export const JOURNAL = named('journal')
export const RTNL = named('rtnl')
export const BLOCK = named('block')
export const CHAIN = named('chain')
export const PRIO = named('prio')
export const UNREADY = named('unready')
export const ACTION = named('action')
export const ENCAP_TBL = named('encap_tbl')
export const NEIGH = named('neigh')
export const ENCAP_LIST = named('encap_list')
export const ROUTE = named('route')
export const HANDLE = named('handle')
export const FIB = named('fib')
export const ADDR = named('addr')
export const NEIGHBOUR = named('neighbour')
export const DEFER = named('defer')
export const POOL = named('pool')
