// The catalogue of what a flow does: the contract of an action kind, and the contexts that its halves get.
//
// An action kind is one file of this folder, whole:
//
//   tc words ── parse ──▶ TCA_ACT_OPTIONS ── init ──▶ struct tc_action in the arena ── compile ──▶ ops
//   tc text  ◀── print ──                 ◀── dump ──                     (memory/layout/action.ts, program.ts)
//
// parse and print are the command line's (m_<kind>.c of iproute2 6.1); init, dump and cleanup are the kernel's
// (net/sched/act_<kind>.c, Linux 6.1). index.ts names every kind; a new action is a file and a line there.
//
// The life of an instance, seen from here: whoever owns the table of actions (flow/) finds the kind, reads the index
// with `parmsOf`, allocates ACT_SIZE zeroed bytes, sets the words that are not the kind's (ACT_KIND, INDEX, REFCNT,
// BINDCNT, COUNTER, FLAGS, COOKIE, INSTALLED, HW_STATS) and calls `init`, which sets ACT_CONTROL, CONTROL2, CHAIN and
// PARAMS: everything in these words is free of references to the instance itself, so that a replacement is initialised
// in a second instance and the four are swapped. `cleanup` gives back what init took; it is called when no program uses
// the instance any more, after which its memory goes by freeRcu. Between the two the words are constant.
// Control threads only.

import type { Arena } from '../memory/arena.ts'
import type { Counter } from '../memory/counters.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import type { Builder } from '../wire/netlink.ts'
import type { OffloadRule } from './offload.ts'

/** What init, cleanup and dump need of the world. */
export interface ActionContext {
  readonly a: Arena
  /** Milliseconds of the switch's clock. */
  now(): number
  /** Takes a chain of the filter's block for `goto`, making it when it is not there; 0 when there is no filter. */
  takeChain(index: number): number
  putChain(chain: number): void
  /** What the action has counted, whoever counts for it. */
  stats(act: number): Counter
}

/** What compile needs: one for each program of a flow. */
export interface CompileContext {
  readonly a: Arena
  /** The fast program knows its encap entries; the slow one leaves the resolving to the host. */
  readonly path: 'fast' | 'slow'
  /** Appends an op: its word (opcode and length) and its operands. */
  emit(op: number, ...operands: number[]): void
  /** Counter id of an action: where its drops and overlimits go. */
  counter(act: number): number
  /** Entry of the flow's encap destination with this metadata and device (fast path). */
  encapOf(tun: number, dev: number): number
  /** The tun_info that the actions so far have set, 0 when none; compile keeps it. */
  tun: number
  /** The action behind this one in the list, 0 at the end. */
  next: number
}

export interface ActionKind {
  /** The word: `action mirred …`. */
  readonly name: string
  /** TCA_ID_*, kept in ACT_KIND. */
  readonly id: number
  /** The attribute of the options that begins with the index, and its least length. */
  readonly parms: number
  /** Another attribute that may stand for it. */
  readonly parmsOr?: number
  readonly parmsLen: number
  /** Says what is missing without options or without `parms`; EINVAL goes with it. */
  readonly missing?: string
  readonly missingParms?: string

  /**
   * Reads the words of one action and writes the content of TCA_ACT_OPTIONS: `args` stands on the kind's name (for
   * gact maybe on the verdict), and is left behind the last word that is the kind's. Refuses as tc does.
   */
  parse(args: Args, b: Builder): void
  /** Prints the options in [o, end), from the kind's name to the end of the line that says ref and bind. */
  print(d: DataView, o: number, end: number, out: Printer): void

  /**
   * Fills the kind's words of `act` from the options in [o, end); throws NetlinkError and takes nothing then. `old` is the
   * instance that it is to replace, 0 when there is none: some kinds keep what the request does not say.
   */
  init(c: ActionContext, act: number, d: DataView, o: number, end: number, old: number): void
  /**
   * The words of an instance that `again` makes further ones of, for who meets the same options anew; undefined when init
   * looks at more than options and devices, or takes more than memory. Kinds that say nothing are initialised each time.
   */
  keep?(c: ActionContext, act: number): Int32Array | undefined
  /** As init with the options of the instance whose words were kept. False, and nothing is taken: init has to look again. */
  again?(c: ActionContext, act: number, kept: Int32Array): boolean
  /** Gives back what init took. */
  cleanup(c: ActionContext, act: number): void
  /**
   * Emits what the action does; its control (ACT_CONTROL) is emitted by the caller, behind. The op of a fork comes last,
   * and its last operand is 0: the caller writes there how far away the other way begins.
   */
  compile(c: CompileContext, act: number): void
  /** The second control, when the instance is a fork (ways.ts): its op sends some packets on with that one. */
  fork?(m: Int32Array, act: number): number | undefined
  /** Appends what a driver is told that the action is: FLOW_ACTION_*. Absent: no driver is asked for such an action. */
  offload?(m: Int32Array, act: number, ids: number[]): void
  /**
   * What the driver of the profile mlx5 says against the action in a rule (offload.ts), undefined when it takes it. A
   * kind without this is never offloaded.
   */
  driverRefuses?(m: Int32Array, act: number, r: OffloadRule): string | undefined
  /** Writes the content of TCA_ACT_OPTIONS, attributes in the kernel's order. */
  dump(c: ActionContext, act: number, b: Builder): void
}
