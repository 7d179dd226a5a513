// dst_port and src_port as a range, `1000-2000`: the words are read in ports.ts.
//
// A range is no part of key and mask: it goes beside them (KeyExtra), and a flow whose masked key is equal matches only
// when its range holds the port.

import { KEY_IP_PROTO } from '../memory/layout/flow_key.ts'
import type { Printer } from '../tc/printer.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_IP_PROTO,
  TCA_FLOWER_KEY_PORT_DST_MAX,
  TCA_FLOWER_KEY_PORT_DST_MIN,
  TCA_FLOWER_KEY_PORT_SRC_MAX,
  TCA_FLOWER_KEY_PORT_SRC_MIN,
} from '../wire/tca_flower.ts'
import { printName } from './masked_text.ts'
import type { KeyExtra, MatchGroup } from './match.ts'
import { portAttrs } from './ports.ts'

const be16 = (d: DataView, payload: number): number => (payload === 0 ? 0 : d.getUint16(payload))

// fl_set_key_port_range
function setRanges(attrs: Int32Array, d: DataView, extra: KeyExtra): void {
  const dstMin = attrs[TCA_FLOWER_KEY_PORT_DST_MIN]
  const dstMax = attrs[TCA_FLOWER_KEY_PORT_DST_MAX]
  const srcMin = attrs[TCA_FLOWER_KEY_PORT_SRC_MIN]
  const srcMax = attrs[TCA_FLOWER_KEY_PORT_SRC_MAX]
  if ((dstMin | dstMax | srcMin | srcMax) === 0) return
  if ((dstMin === 0) !== (dstMax === 0))
    throw new NetlinkError(EINVAL, 'Both min and max destination ports must be specified')
  if ((srcMin === 0) !== (srcMax === 0))
    throw new NetlinkError(EINVAL, 'Both min and max source ports must be specified')
  const why = 'port range (min must be strictly smaller than max)'
  if (dstMin && be16(d, dstMax) <= be16(d, dstMin)) throw new NetlinkError(EINVAL, `Invalid destination ${why}`, dstMin)
  if (srcMin && be16(d, srcMax) <= be16(d, srcMin)) throw new NetlinkError(EINVAL, `Invalid source ${why}`, srcMin)
  extra.dstPortMin = be16(d, dstMin)
  extra.dstPortMax = be16(d, dstMax)
  extra.srcPortMin = be16(d, srcMin)
  extra.srcPortMax = be16(d, srcMax)
}

function printRange(out: Printer, d: DataView, name: string, min: number, max: number): void {
  if (!min || !max) return
  if (!out.json) {
    printName(out, name, `${d.getUint16(min)}-${d.getUint16(max)}`)
    return
  }
  out.openObject(name)
  out.num('start', null, d.getUint16(min))
  out.num('end', null, d.getUint16(max))
  out.closeObject()
}

export const portRange: MatchGroup = {
  name: 'port_range',
  keywords: [],
  attributes: [
    TCA_FLOWER_KEY_PORT_SRC_MIN,
    TCA_FLOWER_KEY_PORT_SRC_MAX,
    TCA_FLOWER_KEY_PORT_DST_MIN,
    TCA_FLOWER_KEY_PORT_DST_MAX,
  ],

  parse() {},

  toKey(attrs, d, key, _mask, extra) {
    if (portAttrs(key[KEY_IP_PROTO])) setRanges(attrs, d, extra)
  },

  toAttributes(_key, _mask, b, extra) {
    if (extra.dstPortMax) {
      b.attrBe16(TCA_FLOWER_KEY_PORT_DST_MIN, extra.dstPortMin)
      b.attrBe16(TCA_FLOWER_KEY_PORT_DST_MAX, extra.dstPortMax)
    }
    if (extra.srcPortMax) {
      b.attrBe16(TCA_FLOWER_KEY_PORT_SRC_MIN, extra.srcPortMin)
      b.attrBe16(TCA_FLOWER_KEY_PORT_SRC_MAX, extra.srcPortMax)
    }
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_IP_PROTO] || !portAttrs(d.getUint8(attrs[TCA_FLOWER_KEY_IP_PROTO]))) return
    printRange(out, d, 'dst_port', attrs[TCA_FLOWER_KEY_PORT_DST_MIN], attrs[TCA_FLOWER_KEY_PORT_DST_MAX])
    printRange(out, d, 'src_port', attrs[TCA_FLOWER_KEY_PORT_SRC_MIN], attrs[TCA_FLOWER_KEY_PORT_SRC_MAX])
  },
}
