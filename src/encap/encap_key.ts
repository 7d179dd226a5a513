// The encap key: which flows share an entry. All of the tunnel metadata, options included, and the tunnel device.
//
// A tun_info is zero wherever nothing was set, so words compare; TUN_REFCNT is no part of the key. The device is: two
// devices of one kind may have other ports, a lower device of their own, an egress filter (mlx5e leaves it out and two
// flows may share a header that is wrong for one: scheme A2).

import type { Arena } from '../memory/arena.ts'
import { TUN_MODE, TUN_OPTS, TUN_OPTS_LEN, TUN_REFCNT } from '../memory/layout/action.ts'
import { ENCAP_DEV, ENCAP_TUN } from '../memory/layout/encap.ts'

const mix = (h: number, v: number): number => {
  const x = Math.imul(h ^ v, 0x9e3779b1)
  return x ^ (x >>> 15)
}

/** Hash of (tun, dev). */
export function encapHash(a: Arena, tun: number, dev: number): number {
  const { m } = a
  let h = dev
  for (let w = (tun + TUN_MODE) >> 2; w < (tun + TUN_REFCNT) >> 2; w++) h = mix(h, m[w])
  const end = (tun + TUN_OPTS + a.u8[tun + TUN_OPTS_LEN] + 3) >> 2
  for (let w = (tun + TUN_OPTS) >> 2; w < end; w++) h = mix(h, m[w])
  return h
}

/** Is this the key of the entry? Its fields are constant: any thread that holds the entry, or the table's lock. */
export function hasKey(a: Arena, e: number, tun: number, dev: number): boolean {
  const { m } = a
  if (m[(e + ENCAP_DEV) >> 2] !== dev) return false
  const other = m[(e + ENCAP_TUN) >> 2]
  const words = (TUN_OPTS + a.u8[tun + TUN_OPTS_LEN] + 3) >> 2
  for (let i = TUN_MODE >> 2; i < TUN_REFCNT >> 2; i++) if (m[(tun >> 2) + i] !== m[(other >> 2) + i]) return false
  for (let i = TUN_OPTS >> 2; i < words; i++) if (m[(tun >> 2) + i] !== m[(other >> 2) + i]) return false
  return true
}
