// What `tc` and `ip` print: text, or JSON with -j, from the same calls (lib/json_print.c of iproute2 is the model).
//
// Each value is printed once with its JSON key and its text format: `out.num('pref', 'pref %u ', pref)`. A null format
// prints in JSON only, `text` in text only, `raw` always. A null key inside an array makes an element. The print halves
// of match/ and action/ get one of these; commands take the result with `finish`. Control threads only.

import { formatInet, formatMac } from './address_text.ts'
import type { Devices } from './args.ts'

export interface PrintOptions {
  readonly json?: boolean
  /** -s, how many times */
  readonly stats?: number
  /** -d */
  readonly details?: boolean
  /** -p */
  readonly pretty?: boolean
  /** -o */
  readonly oneline?: boolean
}

const SPECIFIER = /%[-#0-9.]*(?:hh|h|ll|l)?[sduxgfc]/

/** A C format with at most one conversion, as the print calls of iproute2 have. */
export function format(fmt: string, value: string | number | bigint): string {
  const found = SPECIFIER.exec(fmt)
  if (!found) return fmt.replaceAll('%%', '%')
  const text = convert(found[0], value)
  const after = fmt.slice(found.index + found[0].length)
  return fmt.slice(0, found.index).replaceAll('%%', '%') + text + after.replaceAll('%%', '%')
}

function convert(spec: string, value: string | number | bigint): string {
  const flags = /^%([-#0]*)(\d*)(?:\.(\d+))?/.exec(spec)!
  let text = String(value)
  const kind = spec[spec.length - 1]
  if (kind === 'x') text = (flags[1].includes('#') && Number(value) !== 0 ? '0x' : '') + value.toString(16)
  if (kind === 'g') text = formatG(Number(value))
  if (kind === 'f') text = Number(value).toFixed(flags[3] === undefined ? 6 : Number(flags[3]))
  const width = Number(flags[2] || 0)
  if (flags[1].includes('-')) return text.padEnd(width)
  return text.padStart(width, flags[1].includes('0') ? '0' : ' ')
}

/** printf's %g: six significant digits, no trailing zeros. */
export function formatG(v: number): string {
  if (v === 0 || !Number.isFinite(v)) return String(v)
  const exponent = Math.floor(Math.log10(Math.abs(Number(v.toPrecision(6)))))
  if (exponent >= -4 && exponent < 6) return String(Number(v.toPrecision(6)))
  const [mantissa, power] = v.toExponential(5).split('e')
  const n = Number(power)
  return `${Number(mantissa)}e${n < 0 ? '-' : '+'}${String(Math.abs(n)).padStart(2, '0')}`
}

export class Printer {
  readonly json: boolean
  readonly stats: number
  readonly details: boolean
  readonly pretty: boolean
  readonly devices: Devices
  private readonly newline: string
  private out = ''
  private depth = 0
  private comma = false

  constructor(devices: Devices, o: PrintOptions = {}) {
    this.devices = devices
    this.json = o.json ?? false
    this.stats = o.stats ?? 0
    this.details = o.details ?? false
    this.pretty = o.pretty ?? false
    this.newline = o.oneline ? '\\' : '\n'
  }

  /** Everything printed so far; the printer is empty afterwards. */
  finish(): string {
    const s = this.out
    this.out = ''
    this.depth = 0
    this.comma = false
    return s
  }

  /** Text mode only, as it stands. */
  text(s: string): void {
    if (!this.json) this.out += s
  }

  /** In both modes, as it stands (tc's plain fprintf, which does not know of JSON). */
  raw(s: string): void {
    this.out += s
  }

  /** End of line in text mode. */
  nl(): void {
    if (!this.json) this.out += this.newline
  }

  str(key: string | null, fmt: string | null, value: string): void {
    if (this.json) this.value(key, quote(value))
    else if (fmt !== null) this.out += format(fmt, value)
  }

  num(key: string | null, fmt: string | null, value: number | bigint): void {
    if (this.json) this.value(key, String(value))
    else if (fmt !== null) this.out += format(fmt, value)
  }

  /** A flag: in text the format alone (or "true"/"false" where it has a %s). */
  bool(key: string | null, fmt: string | null, value: boolean): void {
    if (this.json) this.value(key, value ? 'true' : 'false')
    else if (fmt !== null) this.out += format(fmt, value ? 'true' : 'false')
  }

  onOff(key: string | null, fmt: string | null, value: boolean): void {
    if (this.json) this.value(key, value ? 'true' : 'false')
    else if (fmt !== null) this.out += format(fmt, value ? 'on' : 'off')
  }

  /** print_hex: in JSON a string of hexadecimal digits without 0x. */
  hex(key: string | null, fmt: string | null, value: number): void {
    if (this.json) this.value(key, quote(value.toString(16)))
    else if (fmt !== null) this.out += format(fmt, value)
  }

  /** print_0xhex: in JSON a string with 0x. */
  hex0x(key: string | null, fmt: string | null, value: number | bigint): void {
    if (this.json) this.value(key, quote(format('%#x', value)))
    else if (fmt !== null) this.out += format(fmt, value)
  }

  float(key: string | null, fmt: string | null, value: number): void {
    if (this.json) this.value(key, formatG(value))
    else if (fmt !== null) this.out += format(fmt, value)
  }

  /** print_null: JSON null; in text the format with `value`. */
  nul(key: string | null, fmt: string | null, value = ''): void {
    if (this.json) this.value(key, 'null')
    else if (fmt !== null) this.out += format(fmt, value)
  }

  /** print_rate: bytes a second; in text as bits with K, M, G, T. */
  rate(key: string | null, fmt: string | null, bytesPerSecond: number | bigint): void {
    if (this.json) this.value(key, String(bytesPerSecond))
    else if (fmt !== null) this.out += format(fmt, formatRate(BigInt(bytesPerSecond)))
  }

  /** print_size: bytes; in text with Kb, Mb. */
  size(key: string | null, fmt: string | null, bytes: number): void {
    if (this.json) this.value(key, String(bytes))
    else if (fmt !== null) this.out += format(fmt, formatSize(bytes))
  }

  /** `name value`, the key being the name: print_uint_name_value. */
  nameNum(name: string, value: number): void {
    this.num(name, `${name} %u`, value)
  }

  /** print_string_name_value. */
  nameStr(name: string, value: string): void {
    this.str(name, `${name} %s`, value)
  }

  openObject(key: string | null = null): void {
    if (this.json) this.open(key, '{')
  }

  closeObject(): void {
    if (this.json) this.close('}')
  }

  /** `fp` is what text mode prints instead (open_json_array with PRINT_ANY prints the key). */
  openArray(key: string | null, fp = ''): void {
    if (!this.json) {
      this.out += fp
      return
    }
    this.open(key, '[')
    if (this.pretty) this.out += ' '
  }

  closeArray(fp = ''): void {
    if (!this.json) {
      this.out += fp
      return
    }
    if (this.pretty && this.comma) this.out += ' '
    this.comma = false
    this.close(']')
  }

  /** new_json_obj: in JSON every listing is an array. */
  openDocument(): void {
    this.openArray(null)
  }

  closeDocument(): void {
    this.closeArray()
    if (this.json) this.out += '\n'
  }

  /** IPv4 (4 bytes) or IPv6 (16 bytes) as text. */
  inet(d: DataView, o: number, len: number): string {
    return formatInet(new Uint8Array(d.buffer, d.byteOffset + o, len), len)
  }

  /** A link-layer address as text. */
  mac(d: DataView, o: number, len = 6): string {
    return formatMac(new Uint8Array(d.buffer, d.byteOffset + o, len), 0, len)
  }

  private value(key: string | null, text: string): void {
    this.name(key)
    if (this.comma) this.out += ','
    this.out += text
    this.comma = true
  }

  private name(key: string | null): void {
    if (key === null) return
    if (this.comma) this.out += ','
    this.lineBreak()
    this.out += quote(key)
    this.out += this.pretty ? ': ' : ':'
    this.comma = false
  }

  private open(key: string | null, bracket: string): void {
    this.name(key)
    if (this.comma) this.out += ','
    this.out += bracket
    this.depth++
    this.comma = false
  }

  private close(bracket: string): void {
    this.depth--
    if (this.comma) this.lineBreak()
    this.out += bracket
    this.comma = true
  }

  private lineBreak(): void {
    if (this.pretty) this.out += `\n${'    '.repeat(this.depth)}`
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\f': '\\f',
  '\b': '\\b',
  '\\': '\\\\',
  '"': '\\"',
}

const quote = (s: string): string => `"${s.replace(/[\t\n\r\f\b\\"]/g, (c) => ESCAPES[c])}"`

/** 1250 bytes a second are "10Kbit": the largest unit that divides, or that leaves at least a thousand. */
export function formatRate(bytesPerSecond: bigint): string {
  const units = ['', 'K', 'M', 'G', 'T']
  let rate = BigInt.asUintN(64, bytesPerSecond << 3n)
  let i = 0
  while (i < 4 && rate >= 1000n && (rate % 1000n === 0n || rate >= 1000_000n)) {
    rate /= 1000n
    i++
  }
  return `${rate}${units[i]}bit`
}

/** 4096 bytes are "4Kb": a unit is used when the value is near a whole number of it. */
export function formatSize(bytes: number): string {
  const kilo = Math.round(bytes / 1024)
  const mega = Math.round(bytes / 1048576)
  if (bytes >= 1048576 && Math.abs(mega * 1048576 - bytes) < 1024) return `${formatG(mega)}Mb`
  if (bytes >= 1024 && Math.abs(kilo * 1024 - bytes) < 16) return `${formatG(kilo)}Kb`
  return `${bytes}b`
}
