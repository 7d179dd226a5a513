// Rates, sizes and times as police is told them (utils_math.c, tc_core.c), and the rate table that tc sends along.
//
// tc counts time in ticks of 64 ns: 15.625 a microsecond, as every kernel says in /proc/net/psched. Products are C's:
// doubles cut to 32 bits, so that a slow rate overflows as it does there.

const RATE_UNITS: Readonly<Record<string, number>> = {
  bit: 1,
  kibit: 1024,
  kbit: 1000,
  mibit: 1024 ** 2,
  mbit: 1e6,
  gibit: 1024 ** 3,
  gbit: 1e9,
  tibit: 1024 ** 4,
  tbit: 1e12,
  bps: 8,
  kibps: 8 * 1024,
  kbps: 8000,
  mibps: 8 * 1024 ** 2,
  mbps: 8e6,
  gibps: 8 * 1024 ** 3,
  gbps: 8e9,
  tibps: 8 * 1024 ** 4,
  tbps: 8e12,
}
const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  kb: 1024,
  m: 1024 ** 2,
  mb: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1024 ** 3,
  kbit: 128,
  mbit: 1024 ** 2 / 8,
  gbit: 1024 ** 3 / 8,
}
const TIME_UNITS: Readonly<Record<string, number>> = {
  s: 1e9,
  sec: 1e9,
  secs: 1e9,
  ms: 1e6,
  msec: 1e6,
  msecs: 1e6,
  us: 1e3,
  usec: 1e3,
  usecs: 1e3,
  ns: 1,
  nsec: 1,
  nsecs: 1,
}

// A number as strtod reads it, and what follows; undefined for none.
function split(word: string): readonly [number, string] | undefined {
  const found = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i.exec(word)
  return found ? [Number(found[0]), word.slice(found[0].length)] : undefined
}

/** Bytes a second, whole; NaN when the word is no rate. */
export function parseRate(word: string): number {
  const parts = split(word)
  if (!parts) return Number.NaN
  const scale = parts[1] === '' ? 1 : RATE_UNITS[parts[1].toLowerCase()]
  return scale === undefined ? Number.NaN : Math.floor((parts[0] * scale) / 8)
}

/** Bytes below 2^32; NaN when the word is no size. */
export function parseSize(word: string): number {
  const parts = split(word)
  if (!parts) return Number.NaN
  const scale = parts[1] === '' ? 1 : SIZE_UNITS[parts[1].toLowerCase()]
  if (scale === undefined) return Number.NaN
  const size = Math.floor(parts[0] * scale)
  return size >= 0 && size <= 0xffffffff ? size : Number.NaN
}

/** Nanoseconds; NaN when the word is no time. A number without a unit is nanoseconds. */
export function parseTime64(word: string): number {
  const parts = split(word)
  if (!parts) return Number.NaN
  const scale = parts[1] === '' ? 1 : TIME_UNITS[parts[1].toLowerCase()]
  return scale === undefined ? Number.NaN : Math.trunc(parts[0] * scale)
}

/** get_time(): microseconds in 32 bits; NaN when the word is no time. A number without a unit is microseconds. */
export function parseTime(word: string): number {
  const parts = split(word)
  const unit = parts?.[1].toLowerCase() ?? ''
  if (!parts || unit.startsWith('n')) return Number.NaN
  const us = parts[0] * (unit === '' ? 1 : (TIME_UNITS[unit] ?? Number.NaN) / 1e3)
  return Number.isNaN(us) ? us : Math.trunc(us) >>> 0
}

/** sprint_time64: "200ms", three significant digits. */
export function formatTime64(ns: number): string {
  const g = (v: number): string => String(Number(v.toPrecision(3)))
  if (ns >= 1e9) return `${g(ns / 1e9)}s`
  if (ns >= 1e6) return `${g(ns / 1e6)}ms`
  if (ns >= 1e3) return `${g(ns / 1e3)}us`
  return `${ns}ns`
}

const TICK_IN_USEC = 15.625
const toU32 = (v: number): number => Number(BigInt.asUintN(32, BigInt(Math.trunc(v))))

/** Ticks that `size` bytes take at `rate` bytes a second (tc_calc_xmittime). */
export const xmitTime = (rate: number, size: number): number => toU32(toU32(1e6 * (size / rate)) * TICK_IN_USEC)

/** Bytes that go in `ticks` (tc_calc_xmitsize). */
export const xmitSize = (rate: number, ticks: number): number => toU32((rate * toU32(ticks / TICK_IN_USEC)) / 1e6)

export const LINKLAYER_ETHERNET = 1
export const LINKLAYER_ATM = 2
const ATM_CELL_PAYLOAD = 48
const ATM_CELL = 53

/** tc_calc_rtable: fills 256 times, and gives the logarithm of a cell's size. `cellLog` -1: as `mtu` needs. */
export function rateTable(
  rate: number,
  cellLog: number,
  mtu: number,
  mpu: number,
  linklayer: number,
  out: (i: number, ticks: number) => void,
): number {
  const largest = mtu || 2047
  if (cellLog < 0) {
    cellLog = 0
    while (largest >>> cellLog > 255) cellLog++
  }
  for (let i = 0; i < 256; i++) {
    const size = Math.max(((i + 1) << cellLog) >>> 0, mpu)
    out(i, xmitTime(rate, linklayer === LINKLAYER_ATM ? Math.ceil(size / ATM_CELL_PAYLOAD) * ATM_CELL : size))
  }
  return cellLog
}
