// Trace records as people and programs read them: the five mlx5 trace points with their kernel names, fields and print
// formats (include/trace of mlx5: diag/en_tc_tracepoint.h, diag/en_rep_tracepoint.h), and the changes of state.
//
//   0.040000000: mlx5e_rep_neigh_update: netdev: p1 MAC: 02:11:00:00:01:02 IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=1
//
// A cookie prints as the number that the flow has, where the kernel prints a hashed address. For an IPv6 next hop the
// kernel leaves the IPv4 field unwritten; here it is 0.0.0.0.

import * as Id from '../wire/flow_action_id.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import { slowName } from './slow_reason.ts'
import * as T from './trace.ts'

const actionNames: string[] = []
for (const [id, name] of [
  [Id.FLOW_ACTION_ACCEPT, 'ACCEPT'],
  [Id.FLOW_ACTION_DROP, 'DROP'],
  [Id.FLOW_ACTION_TRAP, 'TRAP'],
  [Id.FLOW_ACTION_GOTO, 'GOTO'],
  [Id.FLOW_ACTION_REDIRECT, 'REDIRECT'],
  [Id.FLOW_ACTION_MIRRED, 'MIRRED'],
  [Id.FLOW_ACTION_VLAN_PUSH, 'VLAN_PUSH'],
  [Id.FLOW_ACTION_VLAN_POP, 'VLAN_POP'],
  [Id.FLOW_ACTION_VLAN_MANGLE, 'VLAN_MANGLE'],
  [Id.FLOW_ACTION_TUNNEL_ENCAP, 'TUNNEL_ENCAP'],
  [Id.FLOW_ACTION_TUNNEL_DECAP, 'TUNNEL_DECAP'],
  [Id.FLOW_ACTION_MANGLE, 'MANGLE'],
  [Id.FLOW_ACTION_ADD, 'ADD'],
  [Id.FLOW_ACTION_CSUM, 'CSUM'],
  [Id.FLOW_ACTION_MARK, 'MARK'],
  [Id.FLOW_ACTION_WAKE, 'WAKE'],
  [Id.FLOW_ACTION_QUEUE, 'QUEUE'],
  [Id.FLOW_ACTION_SAMPLE, 'SAMPLE'],
  [Id.FLOW_ACTION_POLICE, 'POLICE'],
  [Id.FLOW_ACTION_CT, 'CT'],
] as const)
  actionNames[id] = name

/** parse_action: each name with a blank behind it; no actions: NULL; an id beyond the table: UNKNOWN. */
export function actionString(ids: readonly number[]): string {
  if (ids.length === 0) return 'NULL'
  return ids.map((id) => (id < Id.NUM_FLOW_ACTIONS ? `${actionNames[id] ?? ''} ` : 'UNKNOWN ')).join('')
}

const bytesOf = (args: Int32Array, at: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => (args[at + (i >> 2)] >>> ((i & 3) * 8)) & 0xff)

const nameOf = (args: Int32Array, at: number): string => {
  const b = bytesOf(args, at, T.NAME_WORDS * 4)
  const end = b.indexOf(0)
  return String.fromCharCode(...b.slice(0, end < 0 ? b.length : end))
}

const hex2 = (x: number): string => x.toString(16).padStart(2, '0')
const macOf = (args: Int32Array, at: number): string => bytesOf(args, at, 6).map(hex2).join(':')
const u64 = (args: Int32Array, at: number): number => (args[at] >>> 0) + (args[at + 1] >>> 0) * 0x100000000
const cookieOf = (args: Int32Array): string => u64(args, 0).toString(16).padStart(16, '0')

/** %pI6c: the longest run of zero groups as `::`, IPv4-mapped addresses with dots (RFC 5952). */
export function ipv6Text(b: readonly number[]): string {
  if (b.slice(0, 10).every((x) => x === 0) && b[10] === 0xff && b[11] === 0xff) return `::ffff:${b.slice(12).join('.')}`
  const groups = Array.from({ length: 8 }, (_, i) => (b[2 * i] << 8) | b[2 * i + 1])
  let best = -1
  let length = 1 // a single zero group stays
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && groups[i + n] === 0) n++
    if (n > length) [best, length] = [i, n]
  }
  const text = (g: number[]): string => g.map((x) => x.toString(16)).join(':')
  return best < 0 ? text(groups) : `${text(groups.slice(0, best))}::${text(groups.slice(best + length))}`
}

/** Both address fields of the neighbour trace points. */
function addresses(args: Int32Array): { v4: string; v6: string } {
  const b = bytesOf(args, 4, 16)
  if (args[8] !== AF_INET) return { v4: '0.0.0.0', v6: ipv6Text(b) }
  return { v4: b.slice(0, 4).join('.'), v6: `::ffff:${b.slice(0, 4).join('.')}` }
}

const address = (args: Int32Array): string => (args[8] === AF_INET ? addresses(args).v4 : addresses(args).v6)

const nudNames: [number, string][] = [
  [0x01, 'INCOMPLETE'],
  [0x02, 'REACHABLE'],
  [0x04, 'STALE'],
  [0x08, 'DELAY'],
  [0x10, 'PROBE'],
  [0x20, 'FAILED'],
  [0x40, 'NOARP'],
  [0x80, 'PERMANENT'],
]
/** NUD_* as `ip neigh` says it. */
export const nudName = (state: number): string => nudNames.find(([bit]) => state & bit)?.[1] ?? 'NONE'

/** An event with its fields under their names. */
export interface TraceEvent {
  /** Nanoseconds of the switch's clock. */
  readonly time: number
  readonly event: string
  readonly fields: Readonly<Record<string, string | number | boolean | readonly string[]>>
  /** The kernel's print format, or one like it. */
  readonly text: string
}

/** Reads a record. */
export function traceEvent({ id, time, args }: T.TraceRecord): TraceEvent {
  const make = (event: string, fields: TraceEvent['fields'], text: string): TraceEvent => ({
    time,
    event,
    fields,
    text,
  })
  switch (id) {
    case T.TRACE_CONFIGURE_FLOWER:
    case T.TRACE_DELETE_FLOWER: {
      const actions = bytesOf(args, 3, args[2])
      const name = id === T.TRACE_CONFIGURE_FLOWER ? 'mlx5e_configure_flower' : 'mlx5e_delete_flower'
      const cookie = cookieOf(args)
      const ids = actions.map((x) => actionString([x]).trimEnd())
      return make(name, { cookie, num: actions.length, ids }, `cookie=${cookie} actions= ${actionString(actions)}`)
    }
    case T.TRACE_STATS_FLOWER: {
      const [cookie, bytes, packets, lastused] = [cookieOf(args), u64(args, 2), u64(args, 4), u64(args, 6)]
      const text = `cookie=${cookie} bytes=${bytes} packets=${packets} lastused=${lastused}`
      return make('mlx5e_stats_flower', { cookie, bytes, packets, lastused }, text)
    }
    case T.TRACE_NEIGH_USED_VALUE: {
      const devname = nameOf(args, 0)
      const { v4, v6 } = addresses(args)
      const text = `netdev: ${devname} IPv4: ${v4} IPv6: ${v6} neigh_used=${args[9]}`
      return make('mlx5e_tc_update_neigh_used_value', { devname, v4, v6, neigh_used: args[9] !== 0 }, text)
    }
    case T.TRACE_REP_NEIGH_UPDATE: {
      const devname = nameOf(args, 0)
      const { v4, v6 } = addresses(args)
      const ha = macOf(args, 10)
      const text = `netdev: ${devname} MAC: ${ha} IPv4: ${v4} IPv6: ${v6} neigh_connected=${args[9]}`
      return make('mlx5e_rep_neigh_update', { devname, ha, v4, v6, neigh_connected: args[9] !== 0 }, text)
    }
    case T.TRACE_FLOW_PATH: {
      const cookie = cookieOf(args)
      const path = args[2] === 0 ? 'fast' : 'slow'
      const why = slowName(args[2])
      return make('flow_path', { cookie, path, why }, `cookie=${cookie} path=${path} why=${why}`)
    }
    case T.TRACE_ENCAP_STATE: {
      const [dev, dst, why] = [nameOf(args, 0), address(args), slowName(args[9] & 0xff)]
      const header = (args[9] & 0x100) !== 0
      const text = `encap=${args[10]} netdev: ${dev} dst: ${dst} header=${header ? 1 : 0} why=${why}`
      return make('encap_state', { encap: args[10], dev, dst, header, why }, text)
    }
    case T.TRACE_NEIGH_STATE: {
      const [dev, dst, mac] = [nameOf(args, 0), address(args), macOf(args, 10)]
      const gone = (args[9] & 0x10000) !== 0
      const state = nudName(args[9] & 0xffff)
      const text = `netdev: ${dev} dst: ${dst} MAC: ${mac} state=${gone ? 'gone' : state}`
      return make('neigh_state', { dev, dst, mac, state, gone }, text)
    }
    default:
      return make(`event_${id}`, {}, '')
  }
}

/** One line of text, time in seconds as the kernel's trace has it. */
export function traceText(e: TraceEvent): string {
  const seconds = Math.floor(e.time / 1e9)
  const nanoseconds = String(e.time - seconds * 1e9).padStart(9, '0')
  return `${seconds}.${nanoseconds}: ${e.event}: ${e.text}`
}

/** One line of JSON. */
export const traceJson = (e: TraceEvent): string => JSON.stringify({ time: e.time, event: e.event, ...e.fields })
