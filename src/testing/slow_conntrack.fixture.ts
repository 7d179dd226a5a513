// The slow action ct, for whole UDP packets in IPv4 (act_ct.c, nf_conntrack_core.c): a list of connections that somebody
// committed, each with the addresses of its first packet. Rules that track look at nothing else.

import { sumOf } from './slow_checksum.fixture.ts'

const UDP = 17
const be16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]

/** What a packet knows of its connection: what the keys ct_state, ct_zone and ct_mark say. */
export interface Tracked {
  readonly state: number
  readonly zone: number
  mark: number
  /** Not committed yet: the packet's own. */
  readonly connection: Connection | null
  /** The packet goes the other way than the first one. */
  readonly reply: boolean
  readonly tuple: string
  readonly back: string
}

interface Connection {
  readonly zone: number
  readonly tuple: string
  readonly back: string
  mark: number
  isAnswered: boolean
}

// TCA_FLOWER_KEY_CT_FLAGS_*
export const [NEW, ESTABLISHED, TRACKED, INVALID, REPLY] = [1, 2, 8, 16, 32]

export interface CtAction {
  readonly zone: number
  readonly commit: boolean
  /** -1: none is set. */
  readonly mark: number
}

/** The UDP checksum, if there is one, over all that is behind the IP header. */
function isSumRight(f: Uint8Array, ip: number, l4: number, end: number): boolean {
  if (be16(f, l4 + 6) === 0) return true
  const length = end - l4
  return sumOf([...f.slice(ip + 12, ip + 20), 0, UDP, length >> 8, length & 255, ...f.slice(l4, end)]) === 0xffff
}

export class SlowConntrack {
  readonly #connections: Connection[] = []

  /** Does the action for the packet whose IPv4 header is at `ip`; what it knows then. */
  track(f: Uint8Array, ip: number, had: Tracked | undefined, a: CtAction): Tracked {
    // Who has an entry of the zone keeps it (tcf_ct_skb_nfct_cached).
    const known =
      had !== undefined && had.zone === a.zone && had.state !== (TRACKED | INVALID) ? had : this.#look(f, ip, a.zone)
    if (!a.commit || known.state === (TRACKED | INVALID)) return known
    let connection = known.connection
    if (connection === null) {
      // Another packet of this burst may have been the first.
      const there = this.#find(a.zone, known.tuple)
      connection = there ?? { zone: a.zone, tuple: known.tuple, back: known.back, mark: 0, isAnswered: false }
      if (there === undefined) this.#connections.push(connection)
    }
    if (a.mark >= 0) connection.mark = a.mark
    return { ...known, connection, mark: connection.mark }
  }

  #find(zone: number, tuple: string): Connection | undefined {
    return this.#connections.find((c) => c.zone === zone && (c.tuple === tuple || c.back === tuple))
  }

  #look(f: Uint8Array, ip: number, zone: number): Tracked {
    const nothing = { zone, mark: 0, connection: null, reply: false, tuple: '', back: '' }
    const l4 = ip + 4 * (f[ip] & 15)
    // The packet is cut to the length that it says (tcf_ct_skb_network_trim).
    const end = Math.min(f.length, ip + be16(f, ip + 2))
    const length = be16(f, l4 + 4)
    const isWhole = l4 + 8 <= end && length >= 8 && l4 + length <= end
    if (!isWhole || !isSumRight(f, ip, l4, end)) return { ...nothing, state: TRACKED | INVALID }
    const [src, dst] = [f.slice(ip + 12, ip + 16).join('.'), f.slice(ip + 16, ip + 20).join('.')]
    const [sport, dport] = [be16(f, l4), be16(f, l4 + 2)]
    const tuple = `${src}:${sport}>${dst}:${dport}`
    const back = `${dst}:${dport}>${src}:${sport}`
    const connection = this.#find(zone, tuple)
    if (connection === undefined)
      return { state: TRACKED | NEW, zone, mark: 0, connection: null, reply: false, tuple, back }
    // Who sends to itself goes the first way.
    const reply = connection.tuple !== tuple
    if (reply) connection.isAnswered = true
    const state = reply ? TRACKED | ESTABLISHED | REPLY : connection.isAnswered ? TRACKED | ESTABLISHED : TRACKED | NEW
    return { state, zone, mark: connection.mark, connection, reply, tuple, back }
  }
}
