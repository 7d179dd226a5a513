// A classic BPF program for a packet socket: lets through what of an uplink is the switch's (endpoints.ts).
//
// The kernel runs it on every frame before the frame gets into the socket's ring (Documentation/networking/filter.rst).
// An instruction is { code u16, jt u8, jf u8, k u32 }; jumps count from the next instruction and reach 255 further, which
// is why every test jumps over one `ret` at most.

import type { DeviceFilter } from './endpoints.ts'
import { v4Of, v6Of } from './endpoints.ts'

const LD_W_ABS = 0x20
const LD_H_ABS = 0x28
const LD_B_ABS = 0x30
const LD_H_IND = 0x48
const LDX_IMM = 0x01
const LDX_MSH = 0xb1
const JA = 0x05
const JEQ = 0x15
const JSET = 0x45
const RET = 0x06
/** Ancillary data: is there a VLAN tag beside the frame? SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT. */
const VLAN_TAG_PRESENT = 0xfffff000 + 48
const ALL = 0xffffffff

const ETH_LEN = 14
const IPPROTO_UDP = 17

type Item = { readonly code: number; readonly k: number; readonly to?: string } | { readonly label: string }

/** The program as an array of struct sock_filter. */
export function socketFilter(f: DeviceFilter): Uint8Array {
  const items: Item[] = []
  const op = (code: number, k: number, to?: string): void => {
    items.push(to === undefined ? { code, k } : { code, k, to })
  }
  const label = (name: string): void => {
    items.push({ label: name })
  }
  /** Goes on at `to` when the accumulator is `k`. */
  const whenIs = (k: number, to: string): void => op(JEQ, k, to)

  op(LD_W_ABS, VLAN_TAG_PRESENT)
  op(JSET, ALL, 'pass')
  op(LD_H_ABS, 12)
  whenIs(0x0800, 'v4')
  whenIs(0x86dd, 'v6')
  op(JA, 0, 'pass')

  label('v4')
  op(LD_H_ABS, ETH_LEN + 6)
  op(JSET, 0x3fff, 'pass') // a fragment
  op(LDX_MSH, ETH_LEN)
  op(LD_B_ABS, ETH_LEN + 9)
  for (const p of f.protocols) whenIs(p, 'address4')
  whenIs(IPPROTO_UDP, 'udp4')
  op(JA, 0, 'pass')
  label('udp4')
  op(LD_H_IND, ETH_LEN + 2)
  for (const p of f.udp) whenIs(p, 'address4')
  op(JA, 0, 'pass')
  label('address4')
  op(LD_W_ABS, ETH_LEN + 16)
  for (const x of v4Of(f)) whenIs(word(x, 0), 'ours')
  op(JA, 0, 'pass')

  label('v6')
  op(LDX_IMM, 40)
  op(LD_B_ABS, ETH_LEN + 6)
  for (const p of f.protocols) whenIs(p, 'address6')
  whenIs(IPPROTO_UDP, 'udp6')
  op(JA, 0, 'pass')
  label('udp6')
  op(LD_H_IND, ETH_LEN + 2)
  for (const p of f.udp) whenIs(p, 'address6')
  op(JA, 0, 'pass')
  label('address6')
  v6Of(f).forEach((x, i) => {
    for (let w = 0; w < 4; w++) {
      op(LD_W_ABS, ETH_LEN + 24 + w * 4)
      whenIs(word(x, w * 4), `next ${i} ${w}`)
      op(JA, 0, `other ${i}`)
      label(`next ${i} ${w}`)
    }
    op(JA, 0, 'ours')
    label(`other ${i}`)
  })
  label('pass')
  op(RET, 0)
  label('ours')
  op(RET, ALL)
  return assemble(items)
}

const word = (bytes: Uint8Array, at: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at)

/** Every conditional jump is two instructions: the test, which hops over a jump that may be long. */
function assemble(items: readonly Item[]): Uint8Array {
  const isTest = (i: Item): boolean => 'code' in i && (i.code === JEQ || i.code === JSET)
  const labels = new Map<string, number>()
  let at = 0
  for (const i of items) {
    if ('label' in i) labels.set(i.label, at)
    else at += isTest(i) ? 2 : 1
  }
  const d = new DataView(new ArrayBuffer(at * 8))
  let pc = 0
  const emit = (code: number, jt: number, jf: number, k: number): void => {
    d.setUint16(pc * 8, code, true)
    d.setUint8(pc * 8 + 2, jt)
    d.setUint8(pc * 8 + 3, jf)
    d.setUint32(pc * 8 + 4, k, true)
    pc++
  }
  for (const i of items) {
    if ('label' in i) continue
    if (isTest(i)) emit(i.code, 0, 1, i.k)
    if (i.to !== undefined) emit(JA, 0, 0, labels.get(i.to)! - pc - 1)
    else emit(i.code, 0, 0, i.k)
  }
  return new Uint8Array(d.buffer)
}
