// What the profile mlx5 says to a pedit (en/tc/act/pedit.c, offload_pedit_fields): the card rewrites fields, tc words of
// 32 bits, so the bits of all pedits of a rule are gathered for each header and handed out to the fields that there are.

import { KEY_IP_PROTO, KEY_N_PROTO } from '../memory/layout/flow_key.ts'
import type { OffloadRule } from './offload.ts'

/** Header types as of TCA_PEDIT_KEY_EX_HTYPE. */
const [ETH, IP4, IP6, TCP, UDP] = [1, 2, 3, 4, 5]
const HEADER_BYTES = 64

/** Bits of one header that are set, added to, and to what; bytes as they are in the header. */
interface Bits {
  readonly set: Uint8Array
  readonly add: Uint8Array
  readonly value: Uint8Array
}

/** What the pedits of a rule rewrite, by header type. */
export type Rewrites = Map<number, Bits>

/** The fields: where they begin, how many bytes they have, which bits of them are theirs (all, when absent). */
const FIELDS: Readonly<Record<number, readonly (readonly [at: number, bytes: number, bits?: number])[]>> = {
  [ETH]: [
    [0, 4],
    [4, 2],
    [6, 4],
    [10, 2],
    [12, 2],
  ],
  [IP4]: [
    [1, 1, 0xfc],
    [8, 1],
    [12, 4],
    [16, 4],
  ],
  [IP6]: [
    [0, 2, 0x0fc0],
    [7, 1],
    [8, 4],
    [12, 4],
    [16, 4],
    [20, 4],
    [24, 4],
    [28, 4],
    [32, 4],
    [36, 4],
  ],
  [TCP]: [
    [0, 2],
    [2, 2],
    [13, 1],
  ],
  [UDP]: [
    [0, 2],
    [2, 2],
  ],
}

const IPPROTO_ICMP = 1
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const IPPROTO_ICMPV6 = 58

/** Notes a rewrite of the word at `off`; what the driver says to it. `keep` and `value` are words as loaded little-endian. */
export function noteRewrite(
  r: Rewrites,
  htype: number,
  off: number,
  keep: number,
  value: number,
  isAdd: boolean,
): string | undefined {
  if (htype === 0) return 'Legacy pedit offload is not supported'
  if (off < 0 || off + 4 > HEADER_BYTES) return 'Rewrite of this field is not supported'
  let bits = r.get(htype)
  if (bits === undefined) {
    bits = { set: new Uint8Array(HEADER_BYTES), add: new Uint8Array(HEADER_BYTES), value: new Uint8Array(HEADER_BYTES) }
    r.set(htype, bits)
  }
  const now = isAdd ? bits.add : bits.set
  for (let i = 0; i < 4; i++) {
    const change = (~keep >>> (8 * i)) & 0xff
    if ((now[off + i] & change) !== 0) return 'Disallow acting twice on same location'
    now[off + i] |= change
    bits.value[off + i] |= (value >>> (8 * i)) & change
  }
  return undefined
}

const read = (b: Uint8Array, at: number, bytes: number): number => {
  let v = 0
  for (let i = 0; i < bytes; i++) v = v * 256 + b[at + i]
  return v
}

/** What the driver says to all rewrites of a rule; undefined: it does them. */
export function rewritesRefused(rewrites: Rewrites, r: OffloadRule): string | undefined {
  for (const [htype, bits] of rewrites) {
    const left = { set: bits.set.slice(), add: bits.add.slice() }
    for (const [at, bytes, of] of FIELDS[htype] ?? []) {
      const own = of ?? 256 ** bytes - 1
      const set = Number(BigInt(read(bits.set, at, bytes)) & BigInt(own))
      const add = Number(BigInt(read(bits.add, at, bytes)) & BigInt(own))
      if (set !== 0 && add !== 0) return "Can't set and add to the same HW field"
      if (!isOneRun(set) || !isOneRun(add)) return 'Rewrite of few sub-fields is not supported'
      for (let i = 0; i < bytes; i++) {
        const clear = Math.floor(own / 256 ** (bytes - 1 - i)) & 0xff
        left.set[at + i] &= ~clear
        left.add[at + i] &= ~clear
      }
    }
    if ([...left.set, ...left.add].some((b) => b !== 0)) return 'Rewrite of this field is not supported'
    if (needsProtocol(htype, bits) && !isKnownProtocol(r)) return "Can't offload re-write of non TCP/UDP"
  }
  return undefined
}

/** Are the ones of a number side by side, if it has any? */
function isOneRun(v: number): boolean {
  if (v === 0) return true
  let b = BigInt(v)
  while ((b & 1n) === 0n) b >>= 1n
  return (b & (b + 1n)) === 0n
}

/** A rewrite of more of the IP header than the ttl may change a transport checksum. */
function needsProtocol(htype: number, { set, add }: Bits): boolean {
  if (htype !== IP4 && htype !== IP6) return false
  const ttl = htype === IP4 ? 8 : 7
  return [...set].some((b, i) => i !== ttl && (b | add[i]) !== 0) || [...add].some((b, i) => i !== ttl && b !== 0)
}

function isKnownProtocol(r: OffloadRule): boolean {
  const type = (r.key[KEY_N_PROTO] << 8) | r.key[KEY_N_PROTO + 1]
  if (r.mask[KEY_N_PROTO] === 0xff && type !== 0x0800 && type !== 0x86dd) return true
  const known = [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6]
  return r.mask[KEY_IP_PROTO] === 0xff && known.includes(r.key[KEY_IP_PROTO])
}
