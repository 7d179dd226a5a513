// `ip link …` (iplink.c): add, set, change, replace, delete; `show` is in ip_link_show.ts.

import { type Builder, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST } from '../wire/netlink.ts'
import {
  IFF_ALLMULTI,
  IFF_DYNAMIC,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_NOTRAILERS,
  IFF_PROMISC,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_BROADCAST,
  IFLA_CARRIER,
  IFLA_GROUP,
  IFLA_GSO_MAX_SEGS,
  IFLA_GSO_MAX_SIZE,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_NUM_RX_QUEUES,
  IFLA_NUM_TX_QUEUES,
  IFLA_TXQLEN,
  ifinfomsg,
  RTM_DELLINK,
  RTM_NEWLINK,
} from '../wire/rtm_link.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import { type Args, isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { showLinks } from './ip_link_show.ts'
import { LanguageError } from './language_error.ts'
import { FOREIGN_KINDS, linkKind } from './link_kinds.ts'
import { usage } from './usage.ts'

const HELP = 'ip link { add | set | replace | delete | show } [ dev ] NAME [ OPTIONS ] [ type KIND [ OPTIONS ] ]'

// on/off words and their flag; for arp and trailers the flag says the opposite.
const FLAG_WORDS: Readonly<Record<string, readonly [number, boolean]>> = {
  multicast: [IFF_MULTICAST, true],
  allmulticast: [IFF_ALLMULTI, true],
  promisc: [IFF_PROMISC, true],
  trailers: [IFF_NOTRAILERS, false],
  arp: [IFF_NOARP, false],
}
const GEN_MODES = ['eui64', 'none', 'stable_secret', 'random']
const UNSUPPORTED = new Set([
  ...['xdp', 'xdpgeneric', 'xdpdrv', 'xdpoffload', 'netns', 'vf', 'vrf', 'mode', 'state', 'protodown'],
  ...['protodown_reason', 'gro_max_size', 'parentdev'],
])

/** Parses behind `ip link`. */
export function parseLink(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return showLinks(c)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
  if (isPrefix(word, 'set') || isPrefix(word, 'change')) return modify(c, RTM_NEWLINK, 0)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWLINK, NLM_F_CREATE | NLM_F_REPLACE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELLINK, 0)
  if (isPrefix(word, 'show') || isPrefix(word, 'lst') || isPrefix(word, 'list')) return showLinks(c)
  if (isPrefix(word, 'help')) return usage('ip', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "ip link help".`, 255, word)
}

interface Said {
  name: string
  dev: string
  link: string
  kind: string
  index: number
  flags: number
  change: number
  addressLen: number
  help: boolean
}

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  const create = (flags & NLM_F_CREATE) !== 0
  const s: Said = { name: '', dev: '', link: '', kind: '', index: 0, flags: 0, change: 0, addressLen: 0, help: false }
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  ifinfomsg(b, options.family, 0, 0, 0, 0)
  parseWords(args, b, s)
  if (s.help) return usage('ip', options, HELP)
  finish(args, b, s, create)
  b.d.setUint32(24, s.flags, true)
  b.d.setUint32(28, s.change, true)
  let warning = ''
  if (s.kind) warning = parseKind(args, b, s.kind, create, options.family)
  else if (create) throw args.fail('Not enough information: "type" argument is required', 1)
  const command: Command = { program: 'ip', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
  return warning ? { ...command, warning } : command
}

function parseWords(args: Args, b: Builder, s: Said): void {
  const seen = new Set<string>()
  const once = (key: string): void => {
    if (seen.has(key)) throw args.duparg(key)
    seen.add(key)
  }
  for (; args.more; args.skip()) {
    const word = args.word
    if (word === 'up' || word === 'down') {
      s.change |= IFF_UP
      s.flags = word === 'up' ? s.flags | IFF_UP : s.flags & ~IFF_UP
    } else if (word === 'name') {
      args.next()
      if (s.name) throw args.duparg('name')
      if (!validName(args.word)) throw args.invarg('"name" not a valid ifname')
      s.name = args.word
      if (!s.dev) s.dev = s.name
    } else if (word === 'index') {
      args.next()
      if (s.index) throw args.duparg('index')
      s.index = args.int(10)
      if (!(s.index > 0)) throw args.invarg('Invalid "index" value')
    } else if (isPrefix(word, 'link')) s.link = args.next()
    else if (isPrefix(word, 'address')) {
      s.addressLen = parseLladdr(args)
      b.attrSlice(IFLA_ADDRESS, args.mac, 0, s.addressLen)
    } else if (isPrefix(word, 'broadcast') || word === 'brd') {
      b.attrSlice(IFLA_BROADCAST, args.mac, 0, parseLladdr(args))
    } else if (isPrefix(word, 'txqueuelen') || word === 'qlen' || isPrefix(word, 'txqlen')) {
      b.attrU32(IFLA_TXQLEN, integer(args, once, 'txqueuelen'))
    } else if (word === 'mtu') b.attrU32(IFLA_MTU, integer(args, once, 'mtu'))
    else if (Object.hasOwn(FLAG_WORDS, word)) setFlag(args, s, FLAG_WORDS[word][0], FLAG_WORDS[word][1])
    else if (UNSUPPORTED.has(word)) throw args.fail(`"${word}" is not supported`)
    else if (word === 'carrier') b.attrU8(IFLA_CARRIER, onOff(args, 'carrier'))
    else if (isPrefix(word, 'master')) {
      const master = args.devices.indexOf(args.next())
      if (!master) throw args.invarg('Device does not exist\n')
      b.attrU32(IFLA_MASTER, master)
    } else if (isPrefix(word, 'nomaster')) b.attrU32(IFLA_MASTER, 0)
    else if (isPrefix(word, 'dynamic')) setFlag(args, s, IFF_DYNAMIC, true)
    else if (isPrefix(word, 'type')) {
      s.kind = args.next()
      args.skip()
      return
    } else if (isPrefix(word, 'alias')) {
      if (args.next().length >= 256) throw args.invarg('alias too long\n')
      b.attrChars(IFLA_IFALIAS, args.word)
    } else if (word === 'group') {
      args.next()
      once('group')
      const group = args.is('default') ? 0 : args.u32()
      if (group < 0) throw args.invarg('Invalid "group" value\n')
      b.attrU32(IFLA_GROUP, group)
    } else if (isPrefix(word, 'numtxqueues')) b.attrU32(IFLA_NUM_TX_QUEUES, integer(args, once, 'numtxqueues'))
    else if (isPrefix(word, 'numrxqueues')) b.attrU32(IFLA_NUM_RX_QUEUES, integer(args, once, 'numrxqueues'))
    else if (isPrefix(word, 'addrgenmode')) {
      const mode = GEN_MODES.indexOf(args.next())
      if (mode < 0) throw args.invarg('Invalid address generation mode\n')
      const spec = b.nest(IFLA_AF_SPEC)
      const v6 = b.nest(AF_INET6)
      b.attrU8(IFLA_INET6_ADDR_GEN_MODE, mode)
      b.nestEnd(v6)
      b.nestEnd(spec)
    } else if (isPrefix(word, 'link-netns') || isPrefix(word, 'link-netnsid')) {
      throw args.fail(`"${word}" is not supported`)
    } else if (word === 'gso_max_size') b.attrU32(IFLA_GSO_MAX_SIZE, unsigned(args, 'gso_max_size', 0xffffffff))
    else if (word === 'gso_max_segs') b.attrU32(IFLA_GSO_MAX_SEGS, unsigned(args, 'gso_max_segs', 0xffff))
    else {
      if (isPrefix(word, 'help')) {
        s.help = true
        return
      }
      if (word === 'dev') args.next()
      if (s.dev !== s.name) throw args.duparg2('dev')
      if (!validAltName(args.word)) throw args.invarg('"dev" not a valid ifname')
      s.dev = args.word
    }
  }
}

function finish(args: Args, b: Builder, s: Said, create: boolean): void {
  if (!s.name) s.name = s.dev
  else if (!s.dev) s.dev = s.name
  if (s.dev && s.addressLen && !create && s.addressLen !== 6 && args.devices.indexOf(s.dev))
    throw args.fail(`Invalid address length ${s.addressLen} - must be 6 bytes`, 1)
  if (s.index && !create) {
    const text = 'index can be used only when creating devices or when moving device to another netns.'
    throw new LanguageError(text, 255, String(s.index), true)
  }
  if (create) {
    if (s.name !== s.dev)
      throw new LanguageError('both "name" and "dev" cannot be used when creating devices.', 255, s.dev, true)
    if (s.link) b.attrU32(IFLA_LINK, args.device(s.link))
    b.d.setUint32(20, s.index, true)
  } else {
    if (!s.dev) throw new LanguageError('Not enough information: "dev" argument is required.', 255, undefined, true)
    b.d.setUint32(20, args.device(s.dev), true)
    // Not renaming to the same name.
    if (s.name === s.dev) s.name = ''
  }
  if (s.name) b.attrStr(IFLA_IFNAME, s.name)
}

function parseKind(args: Args, b: Builder, kind: string, create: boolean, family: number): string {
  const info = b.nest(IFLA_LINKINFO)
  b.attrChars(IFLA_INFO_KIND, kind)
  let warning = ''
  if (args.more) {
    const known = linkKind(kind)
    if (known) {
      const data = b.nest(IFLA_INFO_DATA)
      warning = known.parse(args, b, { create, family })
      b.nestEnd(data)
    } else if (!FOREIGN_KINDS.has(kind)) {
      throw args.fail(`Garbage instead of arguments "${args.word} ...". Try "ip link help".`, 1)
    }
  }
  b.nestEnd(info)
  return warning
}

const validAltName = (name: string): boolean => name !== '' && !/[/\s]/.test(name)
const validName = (name: string): boolean => name.length < 16 && validAltName(name)

function parseLladdr(args: Args): number {
  const n = args.lladdr(args.next())
  if (n < 0) throw args.fail(lladdrError(args.word), 1)
  return n
}

/** What ll_addr_a2n says about a word that is no address: it names the part it stumbled over. */
export function lladdrError(word: string): string {
  const bad = word.split(':').find((part) => !/^\s*\+?(0x)?[0-9a-f]/i.test(part) || Number.parseInt(part, 16) > 255)
  return `"${bad ?? word}" is invalid lladdr.`
}

function integer(args: Args, once: (key: string) => void, name: string): number {
  args.next()
  once(name)
  const n = args.int()
  if (Number.isNaN(n)) throw args.invarg(`Invalid "${name}" value\n`)
  return n >>> 0
}

function unsigned(args: Args, name: string, max: number): number {
  const n = args.number(args.next(), 0, max)
  if (n < 0) throw args.invarg(`Invalid "${name}" value\n`)
  return n
}

function setFlag(args: Args, s: Said, flag: number, straight: boolean): void {
  const name = args.word
  args.next()
  if (!args.is('on') && !args.is('off'))
    throw args.fail(`Error: argument of "${name}" must be "on" or "off", not "${args.word}"`, 1)
  s.change |= flag
  s.flags = args.is('on') === straight ? s.flags | flag : s.flags & ~flag
}

function onOff(args: Args, name: string): number {
  args.next()
  if (args.matches('off')) return 0
  if (args.matches('on')) return 1
  throw args.fail(`Error: argument of "${name}" must be one of "off", "on", not "${args.word}"`, 22)
}
