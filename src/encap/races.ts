// The race table: every race that the scheme's study of mlx5e found (mlx5e-scheme 4.1 to 4.7, rows 1 to 92), what here
// prevents it, and what shows that it does.
//
// `proof` names a model (`file.model.ts export`) that the explorer runs in all orders up to a bound, a test
// (`file.test.ts`), the stress test (`stress`), or the code whose shape leaves no race to show (`code`). A row that does
// not apply says why: mostly what it is about does not exist here (LAG peers, hairpins, a firmware that refuses). The
// test beside this file holds that the table is complete and that everything it names exists.

export interface Race {
  readonly row: number
  /** Who against whom: A control thread, B neighbour notifier, C neigh update, D route notifier, E route update, F retry of
   * flows, G neigh stats, H counters, I teardown. */
  readonly what: string
  readonly mechanism: string
  /** Empty: it does not apply, and `mechanism` says why. */
  readonly proof: readonly string[]
}

const races: Race[] = []
const race = (row: number, what: string, mechanism: string, ...proof: string[]): void => {
  races.push({ row, what, mechanism, proof })
}
const none = (row: number, what: string, why: string): void => race(row, what, why)

// ---- 4.1 flow object, control against control: flow/'s, where the kernel's cls_flower and mlx5e's tc_ht are one table
race(
  1,
  'A, A add the same id',
  'find and insert are one critical section of lock prio',
  'flow/join.model.ts goodSame',
  'flow/join.model.ts badSame',
  'stress',
)
race(
  2,
  'A, A delete the same',
  'FLOW_F_DELETED is set by one atomic or, under lock prio; the loser answers ENOENT, a replacement looks again',
  'flow/join.model.ts goodReplace',
  'flow/join.model.ts badReplace',
  'stress',
)
race(
  3,
  'A deletes, A reads statistics',
  'RCU lookup, then take; memory goes back after a grace period',
  '../sync/refcount.model.ts good',
  'stress',
)
race(
  4,
  'A deletes, another holds the last reference',
  'the last put tears down, on whatever thread',
  'encap.test.ts',
  'attach.model.ts goodDeleteDown',
)
race(
  5,
  'A deletes, A adds the same id again',
  'removal is by identity; who joins under lock prio looks whether it left its chain meanwhile',
  'flow/join.model.ts goodLast',
  'flow/join.model.ts badLast',
  'stress',
)
race(
  6,
  'several change bits of flags',
  'atomic or and and, never a plain write',
  'attach.model.ts goodDeleteUp',
  'stress',
)
race(
  7,
  'A publishes, C reads',
  'OFFLOADED is set after the program is published and before init_done, which C waits for',
  'attach.model.ts goodFailing',
  'attach.model.ts badFailing',
)
race(8, 'A, A count flows', 'counts are atomic or under the lock of what they count', 'stress')

// ---- 4.2 shared entries
race(
  9,
  'A, A miss the same key',
  'look-up and creation are one critical section of encap_tbl',
  'attach.model.ts goodCreate',
  'attach.model.ts badCreate',
)
race(
  10,
  'A finds what A is making',
  'encap_tbl is held until the entry is whole and res_ready',
  'attach.model.ts goodCreate',
)
race(
  11,
  'last put of a neigh hash entry, attach',
  'removal by identity; a look-up passes over what it cannot take',
  'neigh_hash_entry.model.ts goodLast',
  'neigh_hash_entry.model.ts badLast',
)
race(
  12,
  'A, A make one neigh hash entry',
  'lock neigh over look-up and creation',
  'neigh_hash_entry.model.ts goodCreate',
  'neigh_hash_entry.model.ts badCreate',
)
race(
  13,
  'the maker fails, another waits',
  'nobody waits: an entry that could not be built is a slow entry, SLOW_ERROR, and is tried again',
  'code',
)
race(
  14,
  'completed before its result is stored',
  'the result is the completion word, one store',
  '../sync/completion.model.ts good',
)
race(15, 'a failed entry is found', 'an entry is found only when res_ready is 1', 'attach.model.ts goodMakerKill')
race(
  16,
  'last detach, attach',
  'the count falls to zero under encap_tbl, together with the removal; look-ups take',
  'attach.model.ts goodLast',
  'attach.model.ts badLast',
)
race(
  17,
  'one flow, one key twice',
  'items are linked, not flows, and passes use arrays: it is simply allowed, as in the kernel’s software path',
  'encap.test.ts',
)
none(
  18,
  'mod_hdr, hairpin, decap tables',
  'a program carries its own words; there is nothing to share. Actions shared by index are flow/’s, under lock action',
)
none(19, 'port entropy mode', 'each header has its own source port range')
none(20, 'mapping ids reused in flight', 'a packet carries its metadata itself; there are no mapping ids')
race(
  21,
  'A, A make one chain or table',
  'find or create under lock block, chain, prio',
  'flow/filter.test.ts',
  'stress',
)
none(22, 'LAG peers', 'there are no peer flows: a rule is one flow in one table, whichever port it came from')

// ---- 4.3 flows without a route
none(
  23,
  'A deletes, F re-adds',
  'no unready list: a flow without a route is a slow flow, attached to an entry that the route update settles',
)
none(24, 'A fails, the event came before', 'as 23; what matters of it is 72')
none(25, 'A waits for F', 'as 23: no lock is held over more than one entry')

// ---- 4.4 add against neighbour update
race(
  26,
  'A reads the state, B finds nobody registered',
  'register, then read',
  'neigh_hash_entry.model.ts goodRegister',
  'neigh_hash_entry.model.ts badRegister',
  'attach.model.ts goodResolve',
)
race(
  27,
  'C finds an entry without header',
  'C settles under encap_tbl, which the maker holds until it is whole',
  'attach.model.ts goodResolve',
)
race(
  28,
  'C changes the entry between A’s look and use',
  'A attaches and looks in one critical section',
  'attach.model.ts goodResolve',
  'attach.model.ts goodFailing',
)
race(
  29,
  'C takes the header, A installs',
  'C waits for init_done before it changes a flow’s path; the header itself outlives all readers',
  'attach.model.ts goodFailing',
  'attach.model.ts badFailing',
)
race(30, 'several destinations, the first unresolved', 'AND over all items, every time', 'encap.test.ts')
race(
  31,
  'A wants encap_tbl again while C waits for it',
  'one critical section over all destinations',
  'attach.model.ts goodMulti',
  'attach.model.ts badMulti',
)
race(
  32,
  'C finds a flow that failed',
  'not OFFLOADED after init_done: left alone',
  'encap.test.ts',
  'attach.model.ts goodFailed',
)
race(
  33,
  'A fails before init_done',
  'init_done on every way out, before detach',
  'attach.model.ts goodFailed',
  'attach.model.ts badFailed',
)
race(
  34,
  'C puts the last reference under encap_tbl',
  'pinned flows are put after the lock is dropped; the lock order would throw',
  'attach.model.ts goodDeleteDown',
  'attach.model.ts badPutLocked',
)
race(35, 'rtnl below encap_tbl', 'rtnl ranks above; taking it below throws, always', '../sync/mutex.model.ts good')

// ---- 4.5 delete against neighbour update
race(
  36,
  'A frees a flow under C',
  'C holds a reference, and encap_tbl while it walks',
  'attach.model.ts goodDeleteDown',
)
race(
  37,
  'the rule outlives the header',
  'the header goes back after a grace period; C also waits for del_hw_done, while one lives who will say it',
  'attach.model.ts goodDeleteDown',
  'attach.model.ts goodDeleterKill',
  'settle.model.ts goodWithdraw',
  'settle.model.ts badFree',
)
race(38, 'C’s put is the last', 'as 4', 'attach.model.ts goodDeleteDown', 'encap.test.ts')
race(
  39,
  'teardown while C switches',
  'C holds a reference: teardown begins after',
  'attach.model.ts goodDeleteDown',
  'attach.model.ts goodDeleteUp',
)

// ---- 4.6 neighbour events
race(
  40,
  'B, B on one embedded work',
  'the work carries nothing but its next hop; it reads the state when it runs',
  'encap.test.ts',
  '../sync/workqueue.model.ts good',
)
none(
  41,
  'B drops the last reference in atomic context',
  'a notifier here may take locks: it runs with none of encap/ held',
)
race(
  42,
  'B posted, last detach',
  'the posted work holds a reference',
  'neigh_hash_entry.model.ts goodEvent',
  'neigh_hash_entry.model.ts badEvent',
)
race(
  43,
  'B posted, neighbour freed',
  'the work looks the neighbour up again, under RCU',
  'encap.test.ts',
  'attach.model.ts goodEvent',
)
race(
  44,
  'state and MAC of different moments',
  'one picture by the sequence count',
  'attach.model.ts goodResolve',
  'stress',
)
race(45, 'header freed twice', 'one owner: ENTRY_TEMPLATE, cleared before it is retired', 'encap.test.ts')
race(
  46,
  'the state moves while C runs',
  'every change posts; the mark is cleared before the work reads',
  '../sync/workqueue.model.ts good',
  '../sync/workqueue.model.ts badPending',
)
race(47, 'works in another order than events', 'works read, they are not told', 'encap.test.ts')
race(
  48,
  'a header edited while packets copy it',
  'headers are never edited; another is published',
  'settle.model.ts goodReplace',
  'settle.model.ts badEdit',
)
none(
  49,
  'the slow rule cannot be installed',
  'both programs exist from the start and a switch is one store: it cannot fail',
)
race(50, 'C up failed before, C down', 'decided by FLOW_F_SLOW in both directions', 'encap.test.ts')
race(51, 'two entries of one flow go down', 'the item’s validity is cleared before SLOW is looked at', 'encap.test.ts')
race(52, 'one of two entries comes up', 'AND over all items', 'encap.test.ts')
race(53, 'the same address on another device', 'the device is in the key', 'encap.test.ts')
race(
  54,
  'the route’s device goes away',
  'slots of the device table are never unmapped; the entry settles on the device event',
  'encap.test.ts',
)
race(
  55,
  'C walks, an entry is freed',
  'the list is walked under encap_list and each entry taken',
  'attach.model.ts goodEvent',
)
none(56, 'a put inside an RCU section', 'a put here never waits for a grace period: it may be anywhere')
race(
  57,
  'C stands on an entry that is unlinked',
  'C walks an array of taken entries, not the list',
  'attach.model.ts goodEvent',
)
race(58, 'an event is lost for want of memory', 'the work is inside the neigh hash entry', 'code')
race(59, 'works after the tables are gone', 'the arena goes as a whole, after all threads ended', 'code')
race(60, 'padding in keys', 'objects are born zero, keys are compared field by field', 'encap.test.ts')
race(
  61,
  'an entry registers behind C’s back',
  'it reads the state after it registered, so it knows at least what C saw',
  'attach.model.ts goodResolve',
  'neigh_hash_entry.model.ts goodRegister',
)

// ---- 4.7 statistics, routes, teardown
race(62, 'C and G share one link of a flow', 'arrays of each pass; and one worker runs both', 'code')
race(
  63,
  'G reads the counter of a freed flow',
  'G takes each flow under encap_tbl and puts it after',
  'trace.test.ts',
  'stress',
)
race(64, 'G ends while an entry becomes valid', 'whoever makes an entry valid posts G', 'trace.test.ts')
race(65, 'G leaves its loop early', 'every taken entry is put in one place', 'trace.test.ts')
race(66, 'G finds a half made entry', 'res_ready and VALID, under encap_tbl', 'code')
race(67, 'the period changes', 'one word', 'code')
race(68, 'one counter value twice', 'compared with NHE_REPORTED_LASTUSE', 'trace.test.ts')
race(
  69,
  'a counter is freed while it is read',
  'ids go through a grace period',
  '../memory/pool.model.ts goodDeferred',
  'stress',
)
none(70, 'A, A read statistics of one flow', 'counters are read, not taken: there is no delta to lose')
race(71, 'statistics during a switch', 'one counter for both programs', 'stress')
race(
  72,
  'a route changes while A attaches',
  'the generation is read before the look-up; the route update follows every change',
  'route_entry.model.ts goodComes',
  'route_entry.model.ts goodBlackhole',
  'route_entry.model.ts badGeneration',
)
race(73, 'the same within a clock tick', 'a counter, not a clock', 'route_entry.model.ts goodGeneration')
none(74, 'D drops a reference in atomic context', 'D posts one work that exists for ever')
race(75, 'C and E rebuild one header', 'one worker, one function (settle), under encap_tbl', 'code')
race(76, 'C up on a dead route', 'settle asks for the route before the neighbour, every time', 'encap.test.ts')
none(77, 'C, E, F in parallel', 'F does not exist; C and E are works of one queue')
none(
  78,
  'C waits for a deleter that waits for F',
  'flows are not retried (23): a deleter waits for nobody before del_hw_done',
)
race(79, 'E and a flow that failed', 'as 32', 'attach.model.ts goodFailed')
race(
  80,
  'E meets one flow twice',
  'an array may hold a flow twice, each time with its own item and reference',
  'encap.test.ts',
)
race(81, 'the tunnel device goes', 'settle finds no type for it: SLOW_TUNNEL_DOWN', 'encap.test.ts')
race(
  82,
  'A attaches while a route goes',
  'as 72: it attaches, slow, and the route update follows',
  'route_entry.model.ts goodBlackhole',
)
race(83, 'G posts itself after the end', 'as 59', 'code')
none(84, 'leaving switchdev mode', 'there is no other mode: a switch is one from its first packet to its last')
race(
  85,
  'the last flow of a key leaves, another comes, C is about',
  'the dying entry cannot be taken, the new one is another object',
  'attach.model.ts goodLast',
)
race(
  86,
  'C holds encap_tbl long',
  'accepted: one entry’s flows are switched in one critical section, a store each',
  'stress',
)
race(
  87,
  'an old neighbour object’s event comes last',
  'the work looks the neighbour up by key and reads that one',
  'encap.test.ts',
)
race(
  88,
  'a neighbour is collected while only the fast path uses it',
  'software: a stale next hop hears of the next packet; offload: G refreshes it',
  'encap.test.ts',
  'trace.test.ts',
)
race(
  89,
  'a dead neighbour is read as valid',
  'the table does not give out dead ones, and NEIGH_DEAD is looked at after the picture',
  'code',
)
race(
  90,
  'encaps of several action lists',
  'all destinations of a flow are attached in one call',
  'attach.model.ts goodMulti',
)
race(91, 'two destinations with one index', 'an item for each destination of the whole list', 'encap.test.ts')
race(
  92,
  'a failed next hop, and no packet asks',
  'offload: the kick work asks again every second, also for one of which nothing was heard. Software: the next packet asks',
  'encap.test.ts',
  'settle.model.ts goodPursue',
  'settle.model.ts badPursue',
)

export const raceTable: readonly Race[] = races
