// The sender of `bench live`: one frame, by sendmmsg, as fast as it comes out again at the other end.
//
//   live_generator.ts DEVICE FRAME-IN-HEX RECEIVER CPU
//
// At most WINDOW frames are under way, as the receiving device's counter tells: a veth's ring holds 256, and what it drops
// because nobody had the CPU at the moment would cost time and be no packet.

import { openSync, readSync } from 'node:fs'
import { openSender } from '../port/packet_socket.ts'
import { addressOf, ifindexOf, MSG_DONTWAIT, ppoll, sendmmsg, setAffinity } from '../sys/libc.ts'

const BATCH = 64
const WINDOW = 192
/** What has not come after so many waits is lost. */
const PATIENCE = 200
const WAIT_NS = 20_000
const MMSGHDR = 64
const IOVEC = 16

const [device, hex, receiver, cpu] = process.argv.slice(2)
const frame = Buffer.from(hex, 'hex')
const memory = new Uint8Array(BATCH * (MMSGHDR + IOVEC) + frame.length)
const base = addressOf(memory)
const d = new DataView(memory.buffer)
memory.set(frame, BATCH * (MMSGHDR + IOVEC))
for (let i = 0; i < BATCH; i++) {
  const vector = BATCH * MMSGHDR + i * IOVEC
  d.setBigUint64(i * MMSGHDR + 16, BigInt(base + vector), true)
  d.setBigUint64(i * MMSGHDR + 24, 1n, true)
  d.setBigUint64(vector, BigInt(base + BATCH * (MMSGHDR + IOVEC)), true)
  d.setBigUint64(vector + 8, BigInt(frame.length), true)
}

setAffinity(Number(cpu))
const fd = openSender(ifindexOf(device))
process.stdin.on('end', () => process.exit(0))
process.stdin.resume()

const counter = openSync(`/sys/class/net/${receiver}/statistics/rx_packets`, 'r')
const text = Buffer.alloc(32)
const came = (): number => Number(text.toString('latin1', 0, readSync(counter, text, 0, text.length, 0)))

const before = came()
let sent = 0
/** Frames that are not expected any more. */
let lost = 0

function turn(): void {
  for (let i = 0; i < 100; i++) {
    let waits = 0
    while (sent - lost - (came() - before) > WINDOW - BATCH && waits++ < PATIENCE) ppoll(null, 0, WAIT_NS)
    if (waits > PATIENCE) lost = sent - (came() - before)
    const n = sendmmsg(fd, memory, BATCH, MSG_DONTWAIT)
    if (n > 0) sent += n
  }
  setImmediate(turn)
}
turn()
