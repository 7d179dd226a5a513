// `ip link show` (iplink.c, ipaddress.c), and the questions that `ip addr show` asks about devices.

import { type Builder, NLM_F_DUMP, NLM_F_REQUEST } from '../wire/netlink.ts'
import {
  IFLA_EXT_MASK,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  ifinfomsg,
  RTEXT_FILTER_SKIP_STATS,
  RTEXT_FILTER_VF,
  RTM_GETLINK,
} from '../wire/rtm_link.ts'
import { AF_PACKET } from '../wire/rtm_route.ts'
import type { Command, ParseContext } from './command.ts'
import { type LinkFilter, printLink, wanted } from './ip_link_print.ts'
import { usage } from './usage.ts'

const HELP = 'ip link show [ dev DEV ] [ up ] [ type KIND ] [ master DEV ] [ group N ]'

/** Parses behind `ip link show`. */
export function showLinks(c: ParseContext): Command {
  const { args, b, options } = c
  let dev = ''
  let up = false
  let kind = ''
  let master = 0
  let group = -1
  for (; args.more; args.skip()) {
    if (args.is('up')) up = true
    else if (args.is('type')) kind = args.next()
    else if (args.is('master')) {
      master = args.devices.indexOf(args.next())
      if (!master) throw args.invarg('Device does not exist\n')
    } else if (args.is('group')) {
      args.next()
      group = args.is('default') ? 0 : args.u32()
      if (group < 0) throw args.invarg('Invalid "group" value\n')
    } else if (args.is('vrf') || args.is('nomaster')) throw args.fail(`"${args.word}" is not supported`, 1)
    else {
      if (args.is('dev')) args.next()
      else if (args.matches('help')) return usage('ip', options, HELP)
      if (dev) throw args.duparg2('dev')
      dev = args.word
    }
  }
  const ifindex = dev ? args.devices.indexOf(dev) : 0
  if (dev && !ifindex) throw args.fail(`Device "${dev}" does not exist.`, 1, dev)
  if (dev && group < 0) {
    b.begin(RTM_GETLINK, NLM_F_REQUEST)
    ifinfomsg(b, AF_PACKET, 0, 0, 0, 0)
    b.attrStr(IFLA_IFNAME, dev)
    b.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_VF)
  } else {
    b.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP)
    ifinfomsg(b, AF_PACKET, 0, ifindex, 0, 0)
    b.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_VF)
    if (master) b.attrU32(IFLA_MASTER, master)
    if (kind) putKind(b, kind)
  }
  const filter: LinkFilter = { ifindex, up, kind, master, group }
  return {
    program: 'ip',
    options,
    requests: [b.end()],
    onRefusal: { line: '', exitCode: 1 },
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) {
        if (!wanted(m, filter)) continue
        out.openObject()
        printLink(m, out, true, options.brief, AF_PACKET)
        out.closeObject()
      }
      out.closeDocument()
    },
  }
}

/** The dump that `ip addr show` begins with, of one kind of device unless `kind` is ''. */
export function linkDump(c: ParseContext, family: number, kind = ''): Uint8Array {
  c.b.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP)
  ifinfomsg(c.b, family, 0, 0, 0, 0)
  if (family !== 0 && family !== AF_PACKET) return c.b.end()
  c.b.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_VF)
  if (kind) putKind(c.b, kind)
  return c.b.end()
}

function putKind(b: Builder, kind: string): void {
  const info = b.nest(IFLA_LINKINFO)
  b.attrChars(IFLA_INFO_KIND, kind)
  b.nestEnd(info)
}

/** The question for one device that `ip addr show dev` begins with. */
export function linkGet(c: ParseContext, family: number, ifindex: number): Uint8Array {
  c.b.begin(RTM_GETLINK, NLM_F_REQUEST)
  ifinfomsg(c.b, family, 0, ifindex, 0, 0)
  c.b.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS)
  return c.b.end()
}
