// What a bench says: the document of `bench --json`, and the same as a table for people.
import type { Machine } from './machine.ts'

export interface Result {
  readonly suite: 'encap' | 'decap' | 'lookup' | 'actions' | 'pcap'
  /** Of `lookup`: defeated, hostile or own_bits; of `actions`: pedit, geneve or ct. */
  readonly case?: string
  readonly tunnel?: 'vxlan' | 'geneve'
  /** Bytes of the frame without FCS. */
  readonly size: number | 'imix'
  readonly flows: number
  readonly masks: number
  readonly workers: number
  /** Millions of packets in a second of the thread's CPU time: the median of the runs. */
  readonly mpps: number
  /** The same in a second of wall time. */
  readonly mppsWall: number
  /** Nanoseconds of CPU time for a packet. */
  readonly nsPerPacket: number
  /** At the nominal clock of the machine; 0 where that is unknown. */
  readonly cyclesPerPacket: number
  /** (fastest - slowest run) / median. */
  readonly spread: number
  readonly runs: number
  /** A sample of the output was right, field by field, by the slow reference. */
  readonly verified: boolean
  /** Of several workers: their throughput by that of one alone, in the same runs. */
  readonly timesOne?: number
  /** Largest resident memory of the process, for `pcap`. */
  readonly peakMiB?: number
}

export interface Report {
  readonly machine: Machine
  readonly commit: string
  readonly results: readonly Result[]
}

/** Rounded as a figure of this kind can be trusted. */
export function round(value: number, digits = 3): number {
  return Number(value.toPrecision(digits))
}

/** One line of the table. */
export function row(r: Result): string {
  const cells = [
    (r.case ?? r.suite).padEnd(9),
    String(r.size).padStart(5),
    String(r.flows).padStart(8),
    String(r.masks).padStart(6),
    r.mpps.toFixed(2).padStart(8),
    r.mppsWall.toFixed(2).padStart(8),
    r.nsPerPacket.toFixed(1).padStart(8),
    String(r.cyclesPerPacket || '-').padStart(8),
    `${(r.spread * 100).toFixed(0)} %`.padStart(7),
    (r.verified ? 'yes' : 'NO').padStart(9),
  ]
  const workers = r.timesOne === undefined ? '' : `   ${r.workers} workers: ${r.timesOne} × one`
  return cells.join('') + workers + (r.peakMiB === undefined ? '' : `   peak ${r.peakMiB} MiB`)
}

export const HEADER = 'suite     size   flows masks    Mpps  (wall)      ns  cycles spread verified'

/** What the figures were measured on, in two lines. */
export function machineText(m: Machine, commit: string): string {
  return `${m.cpu}, ${m.mhz} MHz, ${m.cores} cores, ${m.memoryGiB} GiB, ${m.system}, Node ${m.node}, load ${m.load}, commit ${commit}\n`
}
