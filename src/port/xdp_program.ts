// The XDP program of a port, assembled here: which frames go to our AF_XDP sockets, which on to the kernel.
//
// An access port gives us everything. An uplink gives us what endpoints.ts says: when that changes, a new program takes
// the old one's place in one step (BPF_LINK_UPDATE), no frame sees neither. Addresses and ports are numbers in the
// program: there is one map, of the sockets by receive queue.
//
// An eBPF instruction is { op u8, dst:4 src:4, off i16, imm i32 } (Documentation/bpf/standardization). Registers as the
// program uses them: r1 context, r2 frame, r3 its end, r4 scratch, r5 network header, r6 context kept, r7 UDP header.

import type { DeviceFilter } from './endpoints.ts'
import { v4Of, v6Of } from './endpoints.ts'

const XDP_PASS = 2
const BPF_FUNC_redirect = 23
const BPF_FUNC_redirect_map = 51
// struct xdp_md
const MD_DATA = 0
const MD_DATA_END = 4
const MD_QUEUE = 16

const LDX_B = 0x71
const LDX_H = 0x69
const LDX_W = 0x61
const MOV_IMM = 0xb7
const MOV_REG = 0xbf
const ADD_IMM = 0x07
const ADD_REG = 0x0f
const AND_IMM = 0x57
const LSH_IMM = 0x67
const JA = 0x05
/** 32-bit compares: an immediate is not sign-extended against the register. */
const JEQ32_IMM = 0x16
const JNE32_IMM = 0x56
const JGT_REG = 0x2d
const CALL = 0x85
const EXIT = 0x95
const LD_IMM64 = 0x18
const PSEUDO_MAP_FD = 1

const IPPROTO_UDP = 17

interface Instruction {
  readonly op: number
  readonly dst: number
  readonly src: number
  readonly off: number
  readonly imm: number
  readonly to?: string
}

class Assembler {
  readonly #code: Instruction[] = []
  readonly #labels = new Map<string, number>()

  op(op: number, dst = 0, src = 0, off = 0, imm = 0): this {
    this.#code.push({ op, dst, src, off, imm })
    return this
  }

  /** A jump to a label. */
  jump(op: number, to: string, dst = 0, src = 0, imm = 0): this {
    this.#code.push({ op, dst, src, off: 0, imm, to })
    return this
  }

  label(name: string): this {
    this.#labels.set(name, this.#code.length)
    return this
  }

  bytes(): Uint8Array {
    const d = new DataView(new ArrayBuffer(this.#code.length * 8))
    this.#code.forEach((i, pc) => {
      const at = pc * 8
      d.setUint8(at, i.op)
      d.setUint8(at + 1, i.dst | (i.src << 4))
      d.setInt16(at + 2, i.to === undefined ? i.off : this.#labels.get(i.to)! - pc - 1, true)
      d.setInt32(at + 4, i.imm, true)
    })
    return new Uint8Array(d.buffer)
  }
}

/** The program; `map` is the descriptor of the XSKMAP. Without a filter everything is ours. */
export function xdpProgram(map: number, filter?: DeviceFilter): Uint8Array {
  const a = new Assembler().op(MOV_REG, 6, 1)
  if (filter !== undefined) {
    const somewhere = filter.addresses.length > 0 && filter.udp.length + filter.protocols.length > 0
    if (!somewhere) return a.op(MOV_IMM, 0, 0, 0, XDP_PASS).op(EXIT).bytes()
    select(a, filter)
  }
  a.label('ours')
    .op(LDX_W, 2, 6, MD_QUEUE)
    .op(LD_IMM64, 1, PSEUDO_MAP_FD, 0, map)
    .op(0)
    .op(MOV_IMM, 3, 0, 0, XDP_PASS) // a queue without a socket
    .op(CALL, 0, 0, 0, BPF_FUNC_redirect_map)
    .op(EXIT)
  if (filter !== undefined) a.label('pass').op(MOV_IMM, 0, 0, 0, XDP_PASS).op(EXIT)
  return a.bytes()
}

/** A program that sends every frame out by a device. */
export const redirectProgram = (ifindex: number): Uint8Array =>
  new Assembler()
    .op(MOV_IMM, 1, 0, 0, ifindex)
    .op(MOV_IMM, 2, 0, 0, 0)
    .op(CALL, 0, 0, 0, BPF_FUNC_redirect)
    .op(EXIT)
    .bytes()

/** Goes on at `ours` for what is ours, at `pass` for the rest. */
function select(a: Assembler, f: DeviceFilter): void {
  a.op(LDX_W, 2, 6, MD_DATA).op(LDX_W, 3, 6, MD_DATA_END)
  room(a, 2, 14)
  a.op(LDX_H, 4, 2, 12)
  // The verifier refuses code that nothing leads to.
  const has4 = v4Of(f).length > 0
  const has6 = v6Of(f).length > 0
  if (has4) a.jump(JEQ32_IMM, 'v4', 4, 0, 0x0008)
  if (has6) a.jump(JEQ32_IMM, 'v6', 4, 0, 0xdd86)
  a.jump(JA, 'pass')
  if (has4) select4(a, f)
  if (has6) select6(a, f)
}

function select4(a: Assembler, f: DeviceFilter): void {
  a.label('v4').op(MOV_REG, 5, 2).op(ADD_IMM, 5, 0, 0, 14)
  room(a, 5, 20)
  a.op(LDX_H, 4, 5, 6).op(AND_IMM, 4, 0, 0, 0xff3f).jump(JNE32_IMM, 'pass', 4, 0, 0) // a fragment
  a.op(LDX_B, 7, 5, 0).op(AND_IMM, 7, 0, 0, 15).op(LSH_IMM, 7, 0, 0, 2).op(ADD_REG, 7, 5)
  transport(a, f, 5, 9, 'address4')
  a.label('address4').op(LDX_W, 4, 5, 16)
  for (const x of v4Of(f)) a.jump(JEQ32_IMM, 'ours', 4, 0, loaded(x, 0))
  a.jump(JA, 'pass')
}

function select6(a: Assembler, f: DeviceFilter): void {
  a.label('v6').op(MOV_REG, 5, 2).op(ADD_IMM, 5, 0, 0, 14)
  room(a, 5, 40)
  a.op(MOV_REG, 7, 5).op(ADD_IMM, 7, 0, 0, 40)
  transport(a, f, 5, 6, 'address6')
  a.label('address6')
  v6Of(f).forEach((x, i) => {
    for (let w = 0; w < 4; w++) a.op(LDX_W, 4, 5, 24 + w * 4).jump(JNE32_IMM, `other ${i}`, 4, 0, loaded(x, w * 4))
    a.jump(JA, 'ours').label(`other ${i}`)
  })
  a.jump(JA, 'pass')
}

/** Is the protocol a tunnel's, or UDP with a port of one? Then `found`, else `pass`. r7: behind the IP header. */
function transport(a: Assembler, f: DeviceFilter, ip: number, protocol: number, found: string): void {
  a.op(LDX_B, 4, ip, protocol)
  for (const p of f.protocols) a.jump(JEQ32_IMM, found, 4, 0, p)
  a.jump(JNE32_IMM, 'pass', 4, 0, IPPROTO_UDP)
  room(a, 7, 8)
  a.op(LDX_H, 4, 7, 2)
  for (const p of f.udp) a.jump(JEQ32_IMM, found, 4, 0, ((p & 0xff) << 8) | (p >> 8))
  a.jump(JA, 'pass')
}

/** Passes a frame on that has no `n` bytes behind register `r`. */
function room(a: Assembler, r: number, n: number): void {
  a.op(MOV_REG, 4, r).op(ADD_IMM, 4, 0, 0, n).jump(JGT_REG, 'pass', 4, 3)
}

/** Four bytes as a load of a little-endian machine sees them. */
const loaded = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getInt32(at, true)
