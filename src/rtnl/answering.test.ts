// Datagrams of several sessions on one thread: order, pieces, and sessions that go.
import { expect, test } from 'vitest'
import {
  Builder,
  buildAck,
  buildDone,
  msgFlags,
  msgSeq,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  viewOf,
} from '../wire/netlink.ts'
import { RTM_GETLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { Answering, PIECE } from './answering.ts'

const b = new Builder()
const message = (type: number, flags: number, seq: number): Uint8Array => {
  b.begin(type, flags | NLM_F_REQUEST, seq)
  b.pad(16)
  return b.end()
}
const DUMP = (seq: number): Uint8Array => message(RTM_GETLINK, NLM_F_DUMP, seq)
const ADD = (seq: number): Uint8Array => message(RTM_NEWLINK, NLM_F_ACK, seq)

/** Parts of 1000 bytes for ever; what was made and given up is counted. */
function endless(): { answering: Answering; told: string[]; made: () => number; ended: () => number } {
  const told: string[] = []
  let made = 0
  let ended = 0
  function* parts(m: Uint8Array): Generator<Uint8Array, void> {
    try {
      for (;;) {
        made++
        b.begin(RTM_NEWLINK, NLM_F_MULTI, msgSeq(viewOf(m)), 0)
        b.pad(1000)
        yield b.end()
      }
    } finally {
      ended++
    }
  }
  const answering = new Answering(
    {
      request: (m) => {
        const d = viewOf(m)
        if ((msgFlags(d) & NLM_F_DUMP) !== NLM_F_DUMP) return [buildAck(m)]
        return msgSeq(d) === 99 ? [buildDone(99, 0)] : parts(m)
      },
    },
    {
      answer: () => {},
      done: (session, number) => told.push(`${session} done ${number}`),
      paused: (session) => told.push(`${session} paused`),
    },
  )
  return { answering, told, made: () => made, ended: () => ended }
}

test('a long answer comes in pieces, made when they are asked for; others do not wait for it', () => {
  const { answering, told, made, ended } = endless()
  answering.ask(1, 1, 1, DUMP(1))
  answering.ask(1, 2, 1, ADD(2))
  expect(told).toEqual(['1 paused'])
  const first = made()
  expect(first * 1000).toBeLessThan(PIECE + 8000)
  answering.ask(2, 3, 2, ADD(3))
  expect(told.splice(0)).toEqual(['1 paused', '2 done 3'])
  expect(made()).toBe(first)
  answering.more(1)
  expect(told.splice(0)).toEqual(['1 paused'])
  expect(made()).toBeGreaterThan(first)
  answering.gone(1)
  expect([ended(), told]).toEqual([1, []])
  answering.more(1)
  answering.gone(1)
  answering.ask(2, 4, 2, DUMP(99))
  expect(told).toEqual(['2 done 4'])
})

test('datagrams of a session are answered in their order', () => {
  const { answering, told } = endless()
  for (let n = 1; n <= 4; n++) answering.ask(5, n, 5, ADD(n))
  expect(told).toEqual([1, 2, 3, 4].map((n) => `5 done ${n}`))
})
