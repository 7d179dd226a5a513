// The names of iproute2's tables under /etc/iproute2, as they come with 6.1: route protocols, scopes, tables, DS field
// values, and the types of routes. Numbers are read too; what has no name is printed as a number.

import {
  RTN_ANYCAST,
  RTN_BLACKHOLE,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_NAT,
  RTN_PROHIBIT,
  RTN_THROW,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTN_UNSPEC,
  RTN_XRESOLVE,
} from '../wire/rtm_route.ts'
import { isPrefix } from './args.ts'
import { parseUint } from './number_text.ts'

type Names = Readonly<Record<string, number>>

const PROTOCOLS: Names = {
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  keepalived: 18,
  babel: 42,
  openr: 99,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
}
const SCOPES: Names = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 }
const TABLES: Names = { unspec: 0, default: 253, main: 254, local: 255 }
const DSFIELD: Names = {
  default: 0,
  CS1: 0x20,
  AF11: 0x28,
  AF12: 0x30,
  AF13: 0x38,
  CS2: 0x40,
  AF21: 0x48,
  AF22: 0x50,
  AF23: 0x58,
  CS3: 0x60,
  AF31: 0x68,
  AF32: 0x70,
  AF33: 0x78,
  CS4: 0x80,
  AF41: 0x88,
  AF42: 0x90,
  AF43: 0x98,
  CS5: 0xa0,
  EF: 0xb8,
  CS6: 0xc0,
  CS7: 0xe0,
}

const read = (names: Names, word: string, base: number, max: number): number =>
  Object.hasOwn(names, word) ? names[word] : parseUint(word, base, max)

const write = (names: Names, n: number): string => {
  for (const name in names) if (names[name] === n) return name
  return String(n)
}

/** Each reader gives -1 when the word is neither name nor number. */
export const parseRouteProtocol = (word: string): number => read(PROTOCOLS, word, 0, 255)
export const formatRouteProtocol = (n: number): string => write(PROTOCOLS, n)
export const parseScope = (word: string): number => read(SCOPES, word, 0, 255)
export const formatScope = (n: number): string => write(SCOPES, n)
export const parseTable = (word: string): number => read(TABLES, word, 0, 0xffffffff)
export const formatTable = (n: number): string => write(TABLES, n)
/** Numbers are hexadecimal here, with or without 0x. */
export const parseDsfield = (word: string): number => read(DSFIELD, word, 16, 255)

/** DS field values are printed by name where the table has one, else as 0x%02x. */
export function formatDsfield(n: number): string {
  for (const name in DSFIELD) if (DSFIELD[name] === n) return name
  return `0x${n.toString(16).padStart(2, '0')}`
}

const WHOLE_TYPES: Names = { local: RTN_LOCAL, nat: RTN_NAT, throw: RTN_THROW, brd: RTN_BROADCAST }
const TYPES: readonly (readonly [string, number])[] = [
  ['broadcast', RTN_BROADCAST],
  ['anycast', RTN_ANYCAST],
  ['multicast', RTN_MULTICAST],
  ['prohibit', RTN_PROHIBIT],
  ['unreachable', RTN_UNREACHABLE],
  ['blackhole', RTN_BLACKHOLE],
  ['xresolve', RTN_XRESOLVE],
  ['unicast', RTN_UNICAST],
]

/** The type of a route, abbreviated as `ip` allows; -1 when the word is none. */
export function parseRouteType(word: string): number {
  if (Object.hasOwn(WHOLE_TYPES, word)) return WHOLE_TYPES[word]
  for (const [name, type] of TYPES) if (isPrefix(word, name)) return type
  return parseUint(word, 0, 255)
}

export function formatRouteType(n: number): string {
  if (n === RTN_UNSPEC) return 'none'
  if (n === RTN_LOCAL) return 'local'
  if (n === RTN_NAT) return 'nat'
  if (n === RTN_THROW) return 'throw'
  return TYPES.find(([, type]) => type === n)?.[0] ?? String(n)
}

const IP_PROTOCOLS: Readonly<Record<string, number>> = {
  ...{ ip: 0, icmp: 1, igmp: 2, tcp: 6, egp: 8, igp: 9, udp: 17, dccp: 33, gre: 47, esp: 50, ah: 51 },
  ...{ 'ipv6-icmp': 58, ospf: 89, ipip: 94, pim: 103, vrrp: 112, l2tp: 115, sctp: 132, udplite: 136 },
}

/** An IP protocol by number or by its name in /etc/protocols; -1 when it is none. */
export function parseIpProtocol(word: string): number {
  const n = parseUint(word, 10, 255)
  return n >= 0 ? n : Object.hasOwn(IP_PROTOCOLS, word) ? IP_PROTOCOLS[word] : -1
}
