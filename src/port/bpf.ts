// The few commands of bpf(2) that a port needs, over union bpf_attr (<linux/bpf.h>).

import { addressOf, bpf } from '../sys/libc.ts'
import { SysError } from '../sys/sys_error.ts'

const BPF_MAP_CREATE = 0
const BPF_MAP_UPDATE_ELEM = 2
const BPF_PROG_LOAD = 5
const BPF_LINK_CREATE = 28
const BPF_LINK_UPDATE = 29

const BPF_MAP_TYPE_XSKMAP = 17
const BPF_PROG_TYPE_XDP = 6
const BPF_XDP = 37
const LOG_BYTES = 65536
const ATTR_BYTES = 144

const attr = (): DataView => new DataView(new ArrayBuffer(ATTR_BYTES))
const run = (command: number, d: DataView, of: string): number => bpf(command, new Uint8Array(d.buffer), of)
const pointer = (d: DataView, at: number, to: ArrayBufferView): void => d.setBigUint64(at, BigInt(addressOf(to)), true)

/** A map of AF_XDP sockets by receive queue. @throws SysError */
export function makeXskMap(entries: number): number {
  const d = attr()
  d.setUint32(0, BPF_MAP_TYPE_XSKMAP, true)
  d.setUint32(4, 4, true)
  d.setUint32(8, 4, true)
  d.setUint32(12, entries, true)
  return run(BPF_MAP_CREATE, d, 'BPF_MAP_CREATE')
}

/** @throws SysError */
export function setMapEntry(map: number, key: number, value: number): void {
  const k = Uint32Array.of(key)
  const v = Uint32Array.of(value)
  const d = attr()
  d.setUint32(0, map, true)
  pointer(d, 8, k)
  pointer(d, 16, v)
  run(BPF_MAP_UPDATE_ELEM, d, 'BPF_MAP_UPDATE_ELEM')
}

/** Loads an XDP program. @throws SysError, which says what the verifier said */
export function loadXdpProgram(code: Uint8Array): number {
  const license = new TextEncoder().encode('Dual MIT/GPL\0')
  const log = new Uint8Array(LOG_BYTES)
  const d = attr()
  d.setUint32(0, BPF_PROG_TYPE_XDP, true)
  d.setUint32(4, code.length / 8, true)
  pointer(d, 8, code)
  pointer(d, 16, license)
  d.setUint32(24, 1, true)
  d.setUint32(28, log.length, true)
  pointer(d, 32, log)
  d.setUint32(68, BPF_XDP, true)
  try {
    return run(BPF_PROG_LOAD, d, 'BPF_PROG_LOAD')
  } catch (e) {
    const said = new TextDecoder().decode(log.subarray(0, log.indexOf(0))).trim()
    throw e instanceof SysError && said !== '' ? new SysError('bpf', e.errno, `BPF_PROG_LOAD (${said})`) : e
  }
}

/** Attaches an XDP program to a device; it is off again when the descriptor is closed. @throws SysError */
export function attachXdp(program: number, ifindex: number, flags: number): number {
  const d = attr()
  d.setUint32(0, program, true)
  d.setUint32(4, ifindex, true)
  d.setUint32(8, BPF_XDP, true)
  d.setUint32(12, flags, true)
  return run(BPF_LINK_CREATE, d, 'BPF_LINK_CREATE')
}

/** Another program takes the place of the one that is attached. @throws SysError */
export function replaceXdp(link: number, program: number): void {
  const d = attr()
  d.setUint32(0, link, true)
  d.setUint32(4, program, true)
  run(BPF_LINK_UPDATE, d, 'BPF_LINK_UPDATE')
}
