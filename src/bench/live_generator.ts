// The sender of `bench live`: one frame, by sendmmsg, as fast as one CPU does it, until stdin ends.
//
//   live_generator.ts DEVICE FRAME-IN-HEX
//
// Prints a line of JSON each time it reads a line: frames sent so far, and its CPU time in ns (its own, and the kernel's
// in its name, which on a veth is the receiver's as well).

import { openSender } from '../port/packet_socket.ts'
import { addressOf, ifindexOf, MSG_DONTWAIT, sendmmsg, setAffinity, threadCpu } from '../sys/libc.ts'

const BATCH = 64
const MMSGHDR = 64
const IOVEC = 16

const [device, hex] = process.argv.slice(2)
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

setAffinity(0)
const fd = openSender(ifindexOf(device))
let sent = 0
let asked = 0
process.stdin.on('data', (text) => {
  asked += String(text).split('\n').length - 1
})
process.stdin.on('end', () => process.exit(0))

function turn(): void {
  for (let i = 0; i < 100; i++) {
    const n = sendmmsg(fd, memory, BATCH, MSG_DONTWAIT)
    if (n > 0) sent += n
  }
  for (; asked > 0; asked--) {
    const { user, system } = threadCpu()
    process.stdout.write(`${JSON.stringify({ sent, cpu: Math.round((user + system) * 1e9) })}\n`)
  }
  setImmediate(turn)
}
turn()
