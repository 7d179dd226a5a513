// The words of pedit: `munge …`, layered (`ip ttl set 3`) or raw (`offset 8 u8 set 3`), into keys (m_pedit.c, p_*.c).
//
// A key changes one aligned 32-bit word of the packet: word = (word & mask) ^ val. So a field is shifted to its place in
// the word and the mask keeps what is beside it; MAC and IPv6 addresses take several keys. What the C program says on
// the way out stands in Bad, which says too on which word it stood then.

import type { Args } from '../tc/args.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import {
  TCA_PEDIT_KEY_EX_CMD_ADD,
  TCA_PEDIT_KEY_EX_CMD_SET,
  TCA_PEDIT_KEY_EX_HDR_TYPE_ETH,
  TCA_PEDIT_KEY_EX_HDR_TYPE_IP4,
  TCA_PEDIT_KEY_EX_HDR_TYPE_IP6,
  TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK,
  TCA_PEDIT_KEY_EX_HDR_TYPE_TCP,
  TCA_PEDIT_KEY_EX_HDR_TYPE_UDP,
} from '../wire/tca_action.ts'

/** One key. Mask and value are numbers whose most significant byte is the first of the packet's word. */
export interface PeditKey {
  mask: number
  val: number
  off: number
  at: number
  offmask: number
  shift: number
  htype: number
  cmd: number
}

export interface PeditKeys {
  readonly extended: boolean
  readonly keys: PeditKey[]
}

const KEYS_MAX = 128

/** tc gives up; the message is what it wrote, `at` the word that it stands on, where that is not the munge's own. */
class Bad extends Error {
  readonly at: number
  constructor(message = '', at = -1) {
    super(message)
    this.at = at
  }
}

type Value = 'u32' | 'ipv4' | 'ipv6' | 'mac'

/** A field of a header: where, how long, what its bits are, how its value is written. */
interface Field {
  readonly off: number
  readonly len: 1 | 2 | 4 | 6 | 16
  readonly retain?: number
  readonly value?: Value
  readonly decrement?: boolean
}

interface Layer {
  readonly htype: number
  readonly fields: Readonly<Record<string, Field>>
  /** Abbreviations that tc takes. */
  readonly abbreviated?: readonly string[]
  /** Only without `ex`: fields of the header behind. */
  readonly behind?: Readonly<Record<string, Field>>
  readonly onlyExtended?: boolean
}

const FLAG = (retain: number): Field => ({ off: 6, len: 1, retain })
const PORTS: Readonly<Record<string, Field>> = { sport: { off: 0, len: 2 }, dport: { off: 2, len: 2 } }

const LAYERS: Readonly<Record<string, Layer>> = {
  eth: {
    htype: TCA_PEDIT_KEY_EX_HDR_TYPE_ETH,
    onlyExtended: true,
    fields: {
      type: { off: 12, len: 2 },
      dst: { off: 0, len: 6, value: 'mac' },
      src: { off: 6, len: 6, value: 'mac' },
    },
  },
  ip: {
    htype: TCA_PEDIT_KEY_EX_HDR_TYPE_IP4,
    abbreviated: ['dsfield', 'precedence'],
    fields: {
      src: { off: 12, len: 4, value: 'ipv4' },
      dst: { off: 16, len: 4, value: 'ipv4' },
      tos: { off: 1, len: 1 },
      dsfield: { off: 1, len: 1 },
      ihl: { off: 0, len: 1, retain: 0x0f },
      ttl: { off: 8, len: 1, decrement: true },
      protocol: { off: 9, len: 1 },
      precedence: { off: 1, len: 1 },
      nofrag: FLAG(0x3f),
      firstfrag: FLAG(0x1f),
      ce: FLAG(0x80),
      df: FLAG(0x40),
      mf: FLAG(0x20),
    },
    behind: {
      dport: { off: 22, len: 2 },
      sport: { off: 20, len: 2 },
      icmp_type: { off: 20, len: 1 },
      icmp_code: { off: 20, len: 1 },
    },
  },
  ip6: {
    htype: TCA_PEDIT_KEY_EX_HDR_TYPE_IP6,
    onlyExtended: true,
    fields: {
      src: { off: 8, len: 16, value: 'ipv6' },
      dst: { off: 24, len: 16, value: 'ipv6' },
      // 19 bits of 20: tc's mask.
      flow_lbl: { off: 0, len: 4, retain: 0x0007ffff },
      payload_len: { off: 4, len: 2 },
      nexthdr: { off: 6, len: 1 },
      hoplimit: { off: 7, len: 1, decrement: true },
      traffic_class: { off: 1, len: 1 },
    },
  },
  tcp: {
    htype: TCA_PEDIT_KEY_EX_HDR_TYPE_TCP,
    onlyExtended: true,
    fields: { ...PORTS, flags: { off: 13, len: 1 } },
  },
  udp: { htype: TCA_PEDIT_KEY_EX_HDR_TYPE_UDP, onlyExtended: true, fields: PORTS },
  icmp: { htype: 0, fields: {} },
}

const allBits = (len: number): number => (len === 1 ? 0xff : len === 2 ? 0xffff : 0xffffffff)

// pack_key8, pack_key16, pack_key32: a value of `len` bytes at byte `off`, of which the bits of `retain` are set.
function pack(p: PeditKeys, k: PeditKey, len: number, retain: number): void {
  const hex = (v: number): string => (v >>> 0).toString(16)
  if (len === 1 && (k.val >>> 0 > 0xff || k.mask >>> 0 > 0xff))
    throw new Bad(`pack_key8 bad value (val ${hex(k.val)} mask ${hex(k.mask)}`)
  if (len === 2 && (k.val >>> 0 > 0xffff || k.mask >>> 0 > 0xffff)) throw new Bad('pack_key16 bad value')
  const index = k.off & 3
  if (len === 2 && index === 3) throw new Bad(`pack_key16 bad index value ${index}`)
  if (len === 4 && index !== 0) throw new Bad('pack_key32: 32 bit offsets must begin in 32bit boundaries')
  const stride = 8 * (4 - len - index)
  const field = allBits(len) << stride
  k.val = ((k.val & retain) << stride) >>> 0
  k.mask = (((k.mask | ~retain) << stride) | ~field) >>> 0
  k.off &= ~3
  add(p, k)
}

function add(p: PeditKeys, k: PeditKey): void {
  if (p.keys.length >= KEYS_MAX) throw new Bad()
  if (!p.extended && (k.htype !== TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK || k.cmd !== TCA_PEDIT_KEY_EX_CMD_SET))
    throw new Bad("Munge parameters not supported. Use 'pedit ex munge ...'.")
  p.keys.push({ ...k })
}

const be = (bytes: Uint8Array, o: number, n: number): number => {
  let v = 0
  for (let i = 0; i < n; i++) v = (v << 8) | bytes[o + i]
  return v >>> 0
}

// An address as it stands in `bytes`: words of four, and for a MAC that begins in the middle of one, two and four.
function packBytes(p: PeditKeys, k: PeditKey, bytes: Uint8Array, len: number): void {
  for (let i = 0; i < len; ) {
    const n = k.off & 3 || len - i < 4 ? 2 : 4
    k.val = be(bytes, i, n)
    k.mask = 0
    pack(p, k, n, allBits(n))
    k.off += 4
    i += n
  }
}

const scratch = new Uint8Array(16)

// A value of four bytes or fewer as a number; longer ones into scratch (0 then).
function parseValue(args: Args, value: Value): number {
  if (value === 'u32') {
    const v = args.u32()
    if (v < 0) throw new Bad()
    return v
  }
  if (value === 'mac') {
    const n = args.lladdr()
    if (n < 0) throw new Bad(`"${badLladdr(args.word)}" is invalid lladdr.`)
    if (n !== 6) throw new Bad()
    scratch.set(args.mac.subarray(0, 6))
    return 0
  }
  if (!args.prefix(value === 'ipv4' ? AF_INET : AF_INET6)) throw new Bad()
  scratch.set(args.inet.data.subarray(0, 16))
  return value === 'ipv4' ? be(args.inet.data, 0, 4) : 0
}

const badLladdr = (text: string): string => text.split(':').find((p) => !/^[0-9a-f]{1,2}$/i.test(p)) ?? text

// parse_cmd: `set V`, `add V`, `decrement`, `invert`, `preserve`, `clear`, then maybe `retain BITS`.
function parseCommand(args: Args, p: PeditKeys, k: PeditKey, f: Field): void {
  const value = f.value ?? 'u32'
  const own = f.retain ?? allBits(f.len)
  let retain = own
  let v = 0
  let mask = 0
  scratch.fill(0)
  if (!args.more) throw new Bad()
  if (args.matches('invert')) {
    v = mask = allBits(f.len)
    if (f.len > 4) scratch[0] = 0xff // of a longer field tc inverts nothing: it sets the first byte, and clears the rest
  } else if (args.matches('set') || args.matches('add')) {
    if (args.matches('add')) k.cmd = TCA_PEDIT_KEY_EX_CMD_ADD
    if (!p.extended && k.cmd) throw new Bad("Non extended mode. only 'set' command is supported")
    args.next()
    v = parseValue(args, value)
  } else if (args.matches('decrement')) {
    if (!f.decrement) throw new Bad('decrement command is not supported for this field')
    if (!p.extended) throw new Bad("Non extended mode. only 'set' command is supported")
    k.cmd = TCA_PEDIT_KEY_EX_CMD_ADD
    v = retain // by overflow
  } else if (args.matches('preserve')) retain = 0
  else if (!args.matches('clear')) throw new Bad()
  args.skip()
  if (args.matches('retain')) {
    args.next()
    retain = parseValue(args, 'u32')
    args.skip()
  }
  if (f.len > 4) {
    if (retain !== own) throw new Bad('retain is not supported for fields longer the 32 bits')
    packBytes(p, k, scratch, f.len)
    return
  }
  k.val = v
  k.mask = mask
  pack(p, k, f.len, retain)
}

const LENGTHS: readonly (readonly [string, 1 | 2 | 4])[] = [
  ['u32', 4],
  ['u16', 2],
  ['u8', 1],
]

// `offset N u8|u16|u32 [at A MASK SHIFT] COMMAND`
function parseOffset(args: Args, p: PeditKeys, k: PeditKey): void {
  const off = args.int()
  if (!args.more || Number.isNaN(off)) throw new Bad()
  k.off = off
  args.skip()
  const found = LENGTHS.find(([name]) => args.matches(name))
  if (!found) throw new Bad()
  args.next()
  if (args.matches('at')) {
    const number = (base: number): number => {
      args.next()
      const v = args.u32(base)
      if (v < 0) throw new Bad()
      return v
    }
    k.at = number(0)
    k.offmask = number(16)
    k.shift = number(0)
    args.next()
  }
  const command = args.at
  try {
    parseCommand(args, p, k, { off, len: found[1] })
  } catch (e) {
    throw e instanceof Bad && !e.message.startsWith('pack_') ? new Bad(e.message, command) : e
  }
}

function parseLayered(args: Args, p: PeditKeys, k: PeditKey, name: string): void {
  const layer = LAYERS[name]
  if (!layer) throw new Bad(`Unknown action  hence option "${args.word}" is unparsable`)
  if (args.left < 2 || (layer.onlyExtended && !p.extended)) throw new Bad()
  k.htype = p.extended ? layer.htype : TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK
  const word = args.word
  const full = layer.abbreviated?.find((a) => a.startsWith(word)) ?? word
  const field =
    pick(layer.fields, word) ?? pick(layer.fields, full) ?? (p.extended ? undefined : pick(layer.behind, word))
  if (!field) throw new Bad()
  args.next()
  k.off = field.off
  parseCommand(args, p, k, field)
  if (name === 'ip6' && word === 'traffic_class') {
    // Its eight bits begin in the middle of a byte.
    const last = p.keys[p.keys.length - 1]
    last.mask = ((last.mask << 4) | 0xf) >>> 0
    last.val = (last.val << 4) >>> 0
  }
}

const pick = (fields: Readonly<Record<string, Field>> | undefined, name: string): Field | undefined =>
  fields && Object.hasOwn(fields, name) ? fields[name] : undefined

/** Reads one munge, `args` behind that word, into `p`. Throws LanguageError as tc. */
export function parseMunge(args: Args, p: PeditKeys): void {
  const k: PeditKey = { mask: 0, val: 0, off: 0, at: 0, offmask: 0, shift: 0, htype: 0, cmd: 0 }
  const first = args.word
  const raw = args.matches('offset')
  args.next()
  const from = args.at
  try {
    if (raw) parseOffset(args, p, k)
    else parseLayered(args, p, k, first)
  } catch (e) {
    if (!(e instanceof Bad)) throw e
    // The word that tc names: `munge`'s own, of a raw key the offset or the command, or what follows the key when it cannot
    // be packed.
    const packed = e.message.startsWith('pack_')
    const at = raw ? (packed ? args.at : Math.max(e.at, from)) : from - 1
    const said = [e.message, raw ? '' : 'bad pedit parsing', `Bad pedit construct (${args.words[at] ?? '(null)'})`]
    throw args.fail(said.filter(Boolean).join('\n'), 1, args.words[at] ?? first)
  }
}
