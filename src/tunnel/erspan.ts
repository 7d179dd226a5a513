// ERSPAN: a mirrored Ethernet frame behind GRE with a sequence number, and a header of its own (draft-foschiano-erspan);
// version 1 is type II, version 2 type III, version 0 is nothing but GRE's protocol type.
//
// Addresses, ttl, tos and DF are those of GRE devices (gre.ts; erspan_fb_xmit, erspan_xmit, ip6erspan_tunnel_xmit of
// Linux 6.1). An external device sends only with erspan_opts, which say version, index, direction and hardware id; the
// key's id is the session. A device of its own was told. What the header says of the frame itself (VLAN, class, whether
// it was cut, the time) is the datapath's (datapath/chip/erspan.ts).

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import { ENC_OPTS_ERSPAN } from '../memory/layout/flow_key.ts'
import * as G from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NONE, SLOW_OPTIONS } from '../memory/layout/slow.ts'
import { gre, has, IPPROTO_GRE, ip6gre, keyOf, outer4, outer6, writeExtension, writeGre } from './gre.ts'
import type { Outer, TunnelType } from './tunnel.ts'

const ETH_P_ERSPAN = 0x88be
const ETH_P_ERSPAN2 = 0x22eb
/** GRE with a sequence number. */
const GRE_LEN = 8
/** sizeof(struct erspan_metadata), as options have it (action/tunnel_opts.ts). */
const METADATA_LEN = 12
const SESSION_MASK = 0x3ff
const INDEX_MASK = 0xfffff
/** Of version 2: the frame is Ethernet's. */
const P = 0x8000

/** erspan_hdr_len. */
const headerLength = (version: number): number => (version === 0 ? 0 : version === 1 ? 8 : 12)

/** The version that is sent, -1 when the metadata of an external device name none. */
function versionOf(a: Arena, dev: number, tun: number): number {
  if (!has(a, dev, N.NETDEV_F_EXTERNAL)) return a.u8[dev + G.GRE_ERSPAN_VER]
  const given = a.m[(tun + T.TUN_FLAGS) >> 2] & T.TUNNEL_ERSPAN_OPT && a.u8[tun + T.TUN_OPTS_KIND] === ENC_OPTS_ERSPAN
  if (!given || a.u8[tun + T.TUN_OPTS_LEN] < METADATA_LEN) return -1
  const version = a.m[(tun + T.TUN_OPTS) >> 2]
  return version === 1 || version === 2 ? version : -1
}

const outer =
  (over: TunnelType['outer'], family6: boolean): TunnelType['outer'] =>
  (a: Arena, dev: number, given: number, out: Outer): number => {
    const why = over(a, dev, given, out)
    if (why !== SLOW_NONE) return why
    const version = versionOf(a, dev, keyOf(a, dev, given))
    if (version < 0) return SLOW_OPTIONS
    out.flags &= ~(H.HEADER_F_CSUM | H.HEADER_F_SEQ)
    out.flags |= H.HEADER_F_ERSPAN | (version === 0 ? 0 : H.HEADER_F_SEQ)
    if (family6 && has(a, dev, N.NETDEV_F_EXTERNAL)) out.flags &= ~H.HEADER_F_NO_RETURN
    out.length = out.extension + (version === 0 ? 4 : GRE_LEN + headerLength(version))
    return SLOW_NONE
  }

function write(a: Arena, dev: number, given: number, out: Outer, d: DataView, at: number): void {
  const tun = keyOf(a, dev, given)
  const version = versionOf(a, dev, tun)
  const o = writeExtension(a, dev, out, d, at)
  writeGre(d, o, version === 0 ? 0 : T.TUNNEL_SEQ, version === 2 ? ETH_P_ERSPAN2 : ETH_P_ERSPAN, 0)
  if (version === 0) return
  const e = o + GRE_LEN
  d.setUint16(e, version << 12)
  d.setUint16(e + 2, a.m[(tun + T.TUN_ID) >> 2] & SESSION_MASK)
  const external = has(a, dev, N.NETDEV_F_EXTERNAL)
  const opts = tun + T.TUN_OPTS
  if (version === 1) {
    const index = external ? a.d.getUint32(opts + 4) : a.m[(dev + G.GRE_ERSPAN_INDEX) >> 2]
    d.setUint32(e + 4, index & INDEX_MASK)
    return
  }
  const last = a.d.getUint16(opts + 10)
  const hwid = external ? (((last >> 8) & 3) << 4) | ((last >> 4) & 15) : a.u8[dev + G.GRE_ERSPAN_HWID]
  const direction = external ? (last >> 3) & 1 : a.u8[dev + G.GRE_ERSPAN_DIR]
  d.setUint32(e + 4, 0)
  d.setUint16(e + 8, 0)
  d.setUint16(e + 10, P | (hwid << 4) | (direction << 3))
}

export const erspan: TunnelType = {
  ...gre,
  name: 'erspan',
  kind: N.NETDEV_KIND_ERSPAN,
  proto: IPPROTO_GRE,
  outer: outer(outer4, false),
  write,
}
export const ip6erspan: TunnelType = {
  ...ip6gre,
  name: 'ip6erspan',
  kind: N.NETDEV_KIND_IP6ERSPAN,
  proto: IPPROTO_GRE,
  outer: outer(outer6, true),
  write,
}
