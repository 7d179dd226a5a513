import { describe, expect, it } from 'vitest'
import {
  attrLen,
  attrString,
  Builder,
  buildAck,
  buildError,
  forEachAttr,
  getU64,
  msgLen,
  msgSeq,
  NLA_F_NESTED,
  NLM_F_REQUEST,
  parseAttrs,
  parseError,
  viewOf,
} from './netlink.ts'
import { EINVAL, NetlinkError } from './netlink_error.ts'

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

describe('Builder', () => {
  it('writes the message that `tc actions flush action csum` sends', () => {
    const b = new Builder(16)
    b.begin(0x31, 0x0105, 0x6b04812e)
    b.u32(0)
    const tab = b.nest(1)
    const one = b.nest(1)
    b.attrStr(1, 'csum')
    b.nestEnd(one)
    b.nestEnd(tab)
    const flags = b.attrRoom(2, 8)
    b.d.setUint32(flags, 1, true)
    b.d.setUint32(flags + 4, 1, true)
    expect(hex(b.end())).toBe(
      '34000000310005012e81046b00000000000000001400010010000100090001006373756d000000000c0002000100000001000000',
    )
  })

  it('pads with zeros over an old message', () => {
    const b = new Builder(64)
    b.u8s.fill(0xa5)
    b.begin(16, NLM_F_REQUEST)
    b.attrU8(1, 7)
    b.attrU16(2, 0x1234)
    b.attrStr(3, 'ab')
    b.attrChars(4, 'é')
    b.attr(5, Uint8Array.of(1, 2, 3, 4, 5))
    expect(hex(b.end()).slice(32)).toBe(
      '0500010007000000' + '0600020034120000' + '0700030061620000' + '06000400c3a90000' + '090005000102030405000000',
    )
  })

  it('keeps big and little numbers, and takes back a nest', () => {
    const b = new Builder(4)
    b.begin(1, 0)
    b.attrBe32(1, 0x0a000001)
    b.attrU64(2, 0x1_0000_0002)
    const n = b.nest(3 | NLA_F_NESTED)
    b.attrFlag(1)
    b.nestCancel(n)
    const m = b.end()
    expect(msgLen(viewOf(m))).toBe(m.length)
    expect(hex(m).slice(32)).toBe('080001000a000001' + '0c0002000200000001000000')
    expect(getU64(viewOf(m), 28)).toBe(0x1_0000_0002)
  })
})

describe('parseAttrs', () => {
  const m = Buffer.from('0500010007000000060002003412000008000880aabbccdd', 'hex')
  it('finds payloads by type, nested flag or not', () => {
    const at = new Int32Array(9)
    parseAttrs(viewOf(m), 0, m.length, at, 8)
    expect([...at]).toEqual([0, 4, 12, 0, 0, 0, 0, 0, 20])
    expect(attrLen(viewOf(m), 12)).toBe(2)
    const seen: number[] = []
    forEachAttr(viewOf(m), 0, m.length, (t, _p, n) => seen.push(t, n))
    expect(seen).toEqual([1, 1, 2, 2, 8, 4])
  })
  it.each([
    ['03000100', 0],
    ['0500010007000000ff000200', 8],
    ['00000000', 0],
  ])('refuses %s with the offset', (text, offset) => {
    const bad = Buffer.from(text, 'hex')
    try {
      parseAttrs(viewOf(bad), 0, bad.length, new Int32Array(9), 8)
      expect.unreachable()
    } catch (e) {
      expect(e).toBeInstanceOf(NetlinkError)
      expect((e as NetlinkError).errno).toBe(EINVAL)
      expect((e as NetlinkError).offset).toBe(offset)
    }
  })
  it('reads a string up to its NUL', () => {
    const s = Buffer.from('0a000100666f6f00787900', 'hex')
    expect(attrString(viewOf(s), 4)).toBe('foo')
  })
})

describe('replies', () => {
  const request = Buffer.from('140000002d0005000700000009000000aabbccdd', 'hex')
  it('quotes the header in an ack', () => {
    const ack = buildAck(request)
    expect(ack.length).toBe(36)
    expect(msgSeq(viewOf(ack))).toBe(7)
    expect(parseError(ack)).toEqual({ errno: 0, message: '', offset: undefined })
    expect(parseError(buildAck(request, 1, 'careful')).message).toBe('careful')
  })
  it('says errno, text and offset in an error', () => {
    const e = buildError(request, EINVAL, 'no such thing', 16, 4711)
    expect(parseError(e)).toEqual({ errno: EINVAL, message: 'no such thing', offset: 16 })
    expect(parseError(buildError(request, EINVAL))).toEqual({ errno: EINVAL, message: '', offset: undefined })
  })
})
