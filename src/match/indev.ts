// indev: the device that the packet came in by. The name becomes an ifindex when the filter is made.
//
// tc 6.1 prints it in front of the other keys, outside of "keys" in JSON.

import { KEY_INDEV } from '../memory/layout/flow_key.ts'
import { attrLen, attrString } from '../wire/netlink.ts'
import { EINVAL, ENODEV, NetlinkError } from '../wire/netlink_error.ts'
import { TCA_FLOWER_INDEV } from '../wire/tca_flower.ts'
import type { MatchGroup } from './match.ts'

const IFNAMSIZ = 16

const validName = (name: string): boolean =>
  name.length > 0 && name.length < IFNAMSIZ && !/[\s/]/.test(name) && name !== '.' && name !== '..'

export const indev: MatchGroup = {
  name: 'indev',
  keywords: ['indev'],
  attributes: [TCA_FLOWER_INDEV],

  parse(_keyword, args, b) {
    const name = args.next()
    if (!validName(name)) throw args.invarg('"indev" not a valid ifname')
    b.attrStr(TCA_FLOWER_INDEV, name)
    args.skip()
  },

  toKey(attrs, d, key, mask, extra) {
    const name = attrs[TCA_FLOWER_INDEV]
    if (name === 0) return
    if (attrLen(d, name) > IFNAMSIZ) throw new NetlinkError(EINVAL, 'Interface name too long', name)
    const ifindex = extra.devices.indexOf(attrString(d, name))
    if (ifindex === 0) throw new NetlinkError(ENODEV, 'Network device not found', name)
    for (let i = 0; i < 4; i++) {
      key[KEY_INDEV + i] = ifindex >>> (8 * i)
      mask[KEY_INDEV + i] = 0xff
    }
  },

  toAttributes(key, mask, b, extra) {
    if (mask[KEY_INDEV] === 0) return
    const ifindex = key[KEY_INDEV] | (key[KEY_INDEV + 1] << 8) | (key[KEY_INDEV + 2] << 16) | (key[KEY_INDEV + 3] << 24)
    const name = extra.devices.nameOf(ifindex)
    if (name) b.attrStr(TCA_FLOWER_INDEV, name)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_INDEV]) return
    out.nl()
    out.str('indev', '  indev %s', attrString(d, attrs[TCA_FLOWER_INDEV]))
  },
}
