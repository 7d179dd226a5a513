// System calls that need no privilege, against the kernel that runs the tests.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import * as c from './libc.ts'
import { EAGAIN, EINVAL, ENOENT, SysError } from './sys_error.ts'

const folder = mkdtempSync(join(tmpdir(), 'flowerbed-libc-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** One struct pollfd. */
function pollfd(fd: number, events: number): Uint8Array {
  const d = new DataView(new ArrayBuffer(8))
  d.setInt32(0, fd, true)
  d.setInt16(4, events, true)
  return new Uint8Array(d.buffer)
}

describe('errors', () => {
  test('a failing call names itself, its object and the errno', () => {
    const wanted = { call: 'open', errno: ENOENT, code: 'ENOENT' }
    expect(() => c.open('/no/such/file', c.O_RDONLY)).toThrow(SysError)
    expect(() => c.open('/no/such/file', c.O_RDONLY)).toThrow(expect.objectContaining(wanted))
    expect(() => c.open('/no/such/file', c.O_RDONLY)).toThrow('open /no/such/file: ENOENT, no such file or directory')
  })

  test('a call of the packet path answers with the negative errno', () => {
    const fd = c.eventfd()
    expect(c.read(fd, new Uint8Array(8), 8)).toBe(-EAGAIN)
    expect(c.read(fd, new Uint8Array(1), 1)).toBe(-EINVAL)
    c.close(fd)
  })

  test('a refused bpf command is named', () => {
    expect(() => c.bpf(9999, new Uint8Array(8), 'BPF_NO_SUCH')).toThrow(/^bpf BPF_NO_SUCH: E(INVAL|PERM)/)
  })
})

describe('memory', () => {
  test('shared memory of WebAssembly has one address, and a file maps over a part of it', () => {
    const { buffer } = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true })
    const all = new Uint8Array(buffer)
    const base = c.addressOf(all)
    expect(base % 65536).toBe(0)
    expect(c.addressOf(all.subarray(4096))).toBe(base + 4096)

    const path = join(folder, 'mapped')
    const fd = openSync(path, 'w+')
    c.write(fd, new Uint8Array(8192).fill(7), 8192)
    expect(c.mmap(base + 65536, 8192, c.PROT_READ_WRITE, c.MAP_SHARED | c.MAP_FIXED, fd, 0)).toBe(base + 65536)
    expect([all[65535], all[65536], all[65536 + 8191], all[65536 + 8192]]).toEqual([0, 7, 7, 0])
    all[65536] = 9
    c.fsync(fd)
    expect(readFileSync(path)[0]).toBe(9)
    closeSync(fd)
    // Gives the arena its own memory back: a hole in it would be a trap for whoever touches it.
    c.mmap(base + 65536, 8192, c.PROT_READ_WRITE, c.MAP_PRIVATE | c.MAP_ANONYMOUS | c.MAP_FIXED, -1, 0)
    expect(all[65536]).toBe(0)
  })

  test('an address is a pointer: read(2) into the middle of shared memory', () => {
    const all = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)
    const fd = c.eventfd(5)
    expect(c.read(fd, c.addressOf(all) + 1000, 8)).toBe(8)
    expect(all[1000]).toBe(5)
    c.close(fd)
  })

  test('viewOf sees the same bytes as unshared memory', () => {
    const all = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)
    const alias = new Uint8Array(c.viewOf(c.addressOf(all), all.length))
    alias[77] = 1
    expect(all[77]).toBe(1)
  })
})

describe('sockets', () => {
  test('a datagram over a Unix socket, waited for by poll and ppoll', () => {
    const path = join(folder, 'socket')
    const address = new Uint8Array(2 + path.length + 1)
    address[0] = c.AF_UNIX
    address.set(new TextEncoder().encode(path), 2)
    const from = c.socket(c.AF_UNIX, c.SOCK_DGRAM, 0)
    const to = c.socket(c.AF_UNIX, c.SOCK_DGRAM | c.SOCK_NONBLOCK, 0)
    c.bind(to, address)
    const set = pollfd(to, c.POLLIN)
    expect(c.poll(set, 1, 0)).toBe(0)
    expect(c.ppoll(set, 1, 1000)).toBe(0)
    expect(c.sendto(from, Uint8Array.of(1, 2, 3), 3, c.MSG_NOSIGNAL, address)).toBe(3)
    expect(c.ppoll(set, 1, 1e9)).toBe(1)
    const got = new Uint8Array(8)
    expect(c.recv(to, got, 8, c.MSG_DONTWAIT)).toBe(3)
    expect([...got.subarray(0, 4)]).toEqual([1, 2, 3, 0])
    expect(c.recv(to, got, 8, c.MSG_DONTWAIT)).toBe(-EAGAIN)
    for (const fd of [from, to]) c.close(fd)
  })

  test('options are set and read back; one that is not there is named', () => {
    const fd = c.socket(c.AF_UNIX, c.SOCK_DGRAM, 0)
    c.setOptionInt(fd, c.SOL_SOCKET, c.SO_RCVBUF, 65536)
    expect(c.getOptionInt(fd, c.SOL_SOCKET, c.SO_RCVBUF)).toBeGreaterThanOrEqual(65536)
    expect(() => c.setOptionInt(fd, c.SOL_SOCKET, 9999, 1, 'SO_NONE')).toThrow('setsockopt SO_NONE: ENOPROTOOPT')
    c.close(fd)
  })
})

test('the thread: its CPU time rises, its CPU can be chosen, devices have numbers', () => {
  const before = c.threadCpu()
  let x = 0
  for (let i = 0; i < 3e7; i++) x = Math.imul(x + i, 7)
  const after = c.threadCpu()
  expect(after.user + after.system + x * 0).toBeGreaterThan(before.user + before.system)
  expect(c.ifindexOf('lo')).toBe(1)
  expect(c.ifindexOf('no-such-dev')).toBe(0)
  expect(() => c.setAffinity(1023)).toThrow('sched_setaffinity cpu 1023: EINVAL')
  c.nameThread('a name for top')
  expect(readFileSync('/proc/thread-self/comm', 'utf8')).toBe('a name for top\n')
})

test('capget tells what this thread may do', () => {
  const header = new DataView(new ArrayBuffer(8))
  header.setUint32(0, 0x20080522, true) // _LINUX_CAPABILITY_VERSION_3
  const data = new Uint32Array(6)
  c.capget(new Uint8Array(header.buffer), new Uint8Array(data.buffer))
  const line = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))
  expect(data[0]).toBe(Number.parseInt(line![1].slice(-8), 16))
})
