// Capture files as bytes, built by the plainest means, for tests that read them.

export interface TestFrame {
  readonly seconds: number
  readonly nanos: number
  readonly bytes: Uint8Array
  /** Original length; that of the bytes without. */
  readonly original?: number
  /** Interface, in pcapng. */
  readonly port?: number
}

export interface ClassicOptions {
  readonly le?: boolean
  readonly nano?: boolean
  readonly link?: number
}

function u16(le: boolean, v: number): number[] {
  return le ? [v & 0xff, v >>> 8] : [v >>> 8, v & 0xff]
}

function u32(le: boolean, v: number): number[] {
  const b = [(v >>> 24) & 0xff, (v >>> 16) & 0xff, (v >>> 8) & 0xff, v & 0xff]
  return le ? b.reverse() : b
}

/** A classic capture. */
export function classicBytes(
  frames: readonly TestFrame[],
  { le = true, nano = false, link = 1 }: ClassicOptions = {},
): Uint8Array {
  const out = [
    ...u32(le, nano ? 0xa1b23c4d : 0xa1b2c3d4),
    ...u16(le, 2),
    ...u16(le, 4),
    ...u32(le, 0),
    ...u32(le, 0),
    ...u32(le, 65535),
    ...u32(le, link),
  ]
  const parts: Uint8Array[] = [Uint8Array.from(out)]
  for (const f of frames) {
    const fraction = nano ? f.nanos : Math.floor(f.nanos / 1000)
    const head = [f.seconds, fraction, f.bytes.length, f.original ?? f.bytes.length]
    parts.push(Uint8Array.from(head.flatMap((v) => u32(le, v))), f.bytes)
  }
  return new Uint8Array(Buffer.concat(parts))
}

/** A pcapng block of any type around a body, which is padded. */
export function block(le: boolean, type: number, body: readonly number[]): number[] {
  const padding = (4 - (body.length % 4)) % 4
  const total = 12 + body.length + padding
  return [...u32(le, type), ...u32(le, total), ...body, ...new Array<number>(padding).fill(0), ...u32(le, total)]
}

export function sectionBlock(le: boolean): number[] {
  return block(le, 0x0a0d0d0a, [
    ...u32(le, 0x1a2b3c4d),
    ...u16(le, 1),
    ...u16(le, 0),
    ...new Array<number>(8).fill(0xff),
  ])
}

/** tsresol as in the option; undefined leaves the option out (microseconds). */
export function interfaceBlock(le: boolean, tsresol?: number, link = 1, offset?: bigint): number[] {
  const options: number[] = []
  if (tsresol !== undefined) options.push(...u16(le, 9), ...u16(le, 1), tsresol, 0, 0, 0)
  if (offset !== undefined) options.push(...u16(le, 14), ...u16(le, 8), ...words(le, offset, true))
  if (options.length > 0) options.push(0, 0, 0, 0)
  return block(le, 1, [...u16(le, link), 0, 0, ...u32(le, 0), ...options])
}

function words(le: boolean, v: bigint, native = false): number[] {
  const high = u32(le, Number((v >> 32n) & 0xffffffffn))
  const low = u32(le, Number(v & 0xffffffffn))
  return native && le ? [...low, ...high] : [...high, ...low]
}

/** An enhanced packet block; ticks is the time in the interface's resolution. */
export function enhancedBlock(
  le: boolean,
  port: number,
  ticks: bigint,
  bytes: Uint8Array,
  original = bytes.length,
): number[] {
  const padding = (4 - (bytes.length % 4)) % 4
  const head = [...u32(le, port), ...words(le, ticks), ...u32(le, bytes.length), ...u32(le, original)]
  return block(le, 6, [...head, ...bytes, ...new Array<number>(padding).fill(0)])
}

export function simpleBlock(le: boolean, bytes: Uint8Array): number[] {
  return block(le, 3, [...u32(le, bytes.length), ...bytes])
}

/** A pcapng capture of one section; every interface has nanoseconds. */
export function pcapngBytes(
  frames: readonly TestFrame[],
  { le = true, interfaces = 1 }: { le?: boolean; interfaces?: number } = {},
): Uint8Array {
  const out = sectionBlock(le)
  for (let i = 0; i < interfaces; i++) out.push(...interfaceBlock(le, 9))
  for (const f of frames)
    out.push(
      ...enhancedBlock(le, f.port ?? 0, BigInt(f.seconds) * 1_000_000_000n + BigInt(f.nanos), f.bytes, f.original),
    )
  return Uint8Array.from(out)
}
