// The process of a raw_ip port (raw_ip.ts), and the only file that knows raw-socket.
//
//   raw_ip_process.ts MTU      packets to send, and what is ours, on stdin; packets received on stdout
//
// A socket that sends has the IP header from us (IP_HDRINCL); for each protocol that is ours one receives. They are kept
// in a map: raw-socket closes a socket that nobody refers to. The process ends with its stdin. It knows nothing of the
// switch, and asks nobody: a packet that cannot go ends here, and its name goes back as one byte.

import { writeSync } from 'node:fs'
import type { Wanted } from './raw_ip.ts'

/** Why a packet ended here. */
export const TOO_LONG = 1
export const NO_ROOM = 2
export const REFUSED = 3

const IPV4 = 1
const IPPROTO_RAW = 255
const IPPROTO_UDP = 17
const SOL_IP = 0
const IP_HDRINCL = 3
const BUFFER = 65536
/** Packets that wait for the sending socket. */
const QUEUE = 512
const STDOUT = 1

/** What of raw-socket is used. */
interface RawSocket {
  on(event: 'message', heard: (packet: Buffer, from: string) => void): void
  on(event: 'error', heard: (e: Error) => void): void
  send(packet: Buffer, at: number, n: number, to: string, done: (e: Error | null) => void): void
  setOption(level: number, option: number, value: number): void
  close(): void
}
interface RawSockets {
  createSocket(o: { protocol: number; addressFamily: number; bufferSize: number }): RawSocket
}

async function serve(mtu: number): Promise<void> {
  const raw = (await import('raw-socket' as string)).default as RawSockets
  const open = (protocol: number): RawSocket => {
    const s = raw.createSocket({ protocol, addressFamily: IPV4, bufferSize: BUFFER })
    s.on('error', (e) => process.stderr.write(`raw_ip: ${e.message}\n`))
    return s
  }
  const sender = open(IPPROTO_RAW)
  sender.setOption(SOL_IP, IP_HDRINCL, 1)
  const receivers = new Map<number, RawSocket>()
  let ours: Wanted = { protocols: [], udp: [], addresses: [] }
  let waiting = 0

  const hear = (packet: Buffer): void => {
    const header = (packet[0] & 15) * 4
    if (!ours.addresses.includes(addressAt(packet, 16))) return
    if (packet[9] === IPPROTO_UDP && !ours.udp.includes(packet.readUInt16BE(header + 2))) return
    if (packet.length > mtu) say(TOO_LONG)
    else give(packet)
  }
  const listen = (wanted: Wanted): void => {
    ours = wanted
    for (const [protocol, s] of receivers)
      if (!wanted.protocols.includes(protocol)) {
        s.close()
        receivers.delete(protocol)
      }
    for (const protocol of wanted.protocols)
      if (!receivers.has(protocol)) {
        const s = open(protocol)
        s.on('message', hear)
        receivers.set(protocol, s)
      }
  }
  const send = (packet: Buffer): void => {
    if (waiting === QUEUE) {
      say(NO_ROOM)
      return
    }
    waiting++
    sender.send(packet, 0, packet.length, addressAt(packet, 16), (e) => {
      waiting--
      if (e) say(REFUSED)
    })
  }
  // A chunk is one write of the other side: the pipe keeps them apart.
  process.stdin.on('data', (chunk: Buffer) => {
    if (chunk[0] >> 4 === 4) send(chunk)
    else listen(JSON.parse(chunk.toString()))
  })
  process.stdin.on('end', () => process.exit(0))
}

const addressAt = (packet: Buffer, at: number): string => packet.subarray(at, at + 4).join('.')

/** Names that the pipe had no room for. */
const untold: number[] = []

/** Gives a packet to the switch; when there is no room for it, that is told when there is. */
function give(packet: Uint8Array): void {
  while (untold.length > 0 && put(Uint8Array.of(untold[0]))) untold.shift()
  if (!put(packet)) say(NO_ROOM)
}

function say(name: number): void {
  if (untold.length > 0 || !put(Uint8Array.of(name))) untold.push(name)
}

function put(bytes: Uint8Array): boolean {
  try {
    writeSync(STDOUT, bytes)
    return true
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException
    if (code === 'EAGAIN') return false
    process.exit(code === 'EPIPE' ? 0 : 1)
  }
}

if (process.argv[1]?.includes('raw_ip_process')) await serve(Number(process.argv[2]))
