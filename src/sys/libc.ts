// The C library: system calls from TypeScript, and the only file that knows koffi.
//
// Arguments are numbers and bytes, never structs: a caller lays a struct out in a DataView as its wire format is laid
// out. A pointer is a number (an address), a view of memory, or null. There are two kinds of functions:
//
//   those of the packet path    answer as the kernel does: a count, or the negative errno; they never throw
//   all the others              throw SysError, which names the call and the errno
//
// Measured: a call costs some 40 ns beside the kernel's own time. Any thread may call, each for itself: `setns`,
// `unshare`, `setAffinity` and `prctl` are the thread's. What must not happen: `terminate()` on a thread that is inside
// one of these calls, or loading this file, ends the whole process. A thread that calls them is therefore asked to stop
// and stops by itself, and waits for no more than a few tens of milliseconds at a time.

import { constants } from 'node:fs'
import koffi from 'koffi'
import { SysError } from './sys_error.ts'

/** What stands for a C pointer: an address, memory of ours, or NULL. */
export type Pointer = number | ArrayBufferView | null

const libc = koffi.load(null)
// biome-ignore lint/suspicious/noExplicitAny: the declared type of each function is the cast at its declaration
type Any = any
const P = 'void *'
const declare = (name: string, result: string, args: string[]): Any => libc.func(name, result, args)

const c = {
  socket: declare('socket', 'int', ['int', 'int', 'int']),
  bind: declare('bind', 'int', ['int', P, 'uint']),
  connect: declare('connect', 'int', ['int', P, 'uint']),
  getsockname: declare('getsockname', 'int', ['int', P, P]),
  setsockopt: declare('setsockopt', 'int', ['int', 'int', 'int', P, 'uint']),
  getsockopt: declare('getsockopt', 'int', ['int', 'int', 'int', P, P]),
  sendto: declare('sendto', 'long', ['int', P, 'size_t', 'int', P, 'uint']),
  recvfrom: declare('recvfrom', 'long', ['int', P, 'size_t', 'int', P, P]),
  sendmsg: declare('sendmsg', 'long', ['int', P, 'int']),
  recvmsg: declare('recvmsg', 'long', ['int', P, 'int']),
  sendmmsg: declare('sendmmsg', 'int', ['int', P, 'uint', 'int']),
  recvmmsg: declare('recvmmsg', 'int', ['int', P, 'uint', 'int', P]),
  read: declare('read', 'long', ['int', P, 'size_t']),
  write: declare('write', 'long', ['int', P, 'size_t']),
  readv: declare('readv', 'long', ['int', P, 'int']),
  writev: declare('writev', 'long', ['int', P, 'int']),
  poll: declare('poll', 'int', [P, 'ulong', 'int']),
  ppoll: declare('ppoll', 'int', [P, 'ulong', P, P]),
  open: declare('open', 'int', ['str', 'int', 'int']),
  close: declare('close', 'int', ['int']),
  pipe2: declare('pipe2', 'int', [P, 'int']),
  fcntl: declare('fcntl', 'int', ['int', 'int', 'long']),
  ioctl: declare('ioctl', 'int', ['int', 'ulong', P]),
  fsync: declare('fsync', 'int', ['int']),
  eventfd: declare('eventfd', 'int', ['uint', 'int']),
  mmap: declare('mmap', 'intptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
  munmap: declare('munmap', 'int', ['uintptr_t', 'size_t']),
  setns: declare('setns', 'int', ['int', 'int']),
  unshare: declare('unshare', 'int', ['int']),
  sched_setaffinity: declare('sched_setaffinity', 'int', ['int', 'size_t', P]),
  prctl: declare('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']),
  capget: declare('capget', 'int', [P, P]),
  capset: declare('capset', 'int', [P, P]),
  syscall: declare('syscall', 'long', ['long', 'ulong', P, 'ulong', 'ulong', 'ulong', 'ulong']),
  getrusage: declare('getrusage', 'int', ['int', P]),
  clock_gettime: declare('clock_gettime', 'int', ['int', P]),
  if_nametoindex: declare('if_nametoindex', 'uint', ['str']),
}

/** The result, or the error that the call left in errno. */
function checked(result: number | bigint, call: string, of?: string): number {
  if (Number(result) !== -1) return Number(result)
  throw new SysError(call, koffi.errno(), of)
}

/** The result, or the negative errno. */
const orErrno = (result: number | bigint): number => (Number(result) < 0 ? -koffi.errno() : Number(result))

/** Address of the first byte of a view. It stays where it is when the memory is shared memory of WebAssembly. */
export const addressOf = (view: ArrayBufferView): number => Number(koffi.address(view))

/** A second view of memory at an address, as unshared memory. At start only: it must not be under way in a thread that ends. */
export const viewOf = (address: number, bytes: number): ArrayBuffer => koffi.view(BigInt(address), bytes)

// ---- files and sockets

/** A new descriptor, closed on exec. @throws SysError */
export const socket = (family: number, type: number, protocol: number): number =>
  checked(c.socket(family, type | SOCK_CLOEXEC, protocol), 'socket')

/** @throws SysError */
export const bind = (fd: number, address: Uint8Array, of?: string): void => {
  checked(c.bind(fd, address, address.length), 'bind', of)
}

/** @throws SysError */
export const connect = (fd: number, address: Uint8Array, of?: string): void => {
  checked(c.connect(fd, address, address.length), 'connect', of)
}

/** The address that a socket is bound to, written to `address`; returns its length. @throws SysError */
export const getsockname = (fd: number, address: Uint8Array): number => {
  const length = Uint32Array.of(address.length)
  checked(c.getsockname(fd, address, length), 'getsockname')
  return length[0]
}

/** Sets an option to bytes. `of` says which one it is, for the error. @throws SysError */
export const setOption = (fd: number, level: number, option: number, value: Uint8Array, of?: string): void => {
  checked(c.setsockopt(fd, level, option, value, value.length), 'setsockopt', of ?? `${level} ${option}`)
}

/** Sets an option to an int. @throws SysError */
export const setOptionInt = (fd: number, level: number, option: number, value: number, of?: string): void => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, value, true)
  setOption(fd, level, option, bytes, of)
}

/** Reads an option into `value`; returns how many bytes it has. @throws SysError */
export const getOption = (fd: number, level: number, option: number, value: Uint8Array, of?: string): number => {
  const length = Uint32Array.of(value.length)
  checked(c.getsockopt(fd, level, option, value, length), 'getsockopt', of ?? `${level} ${option}`)
  return length[0]
}

/** An option that is an int. @throws SysError */
export const getOptionInt = (fd: number, level: number, option: number, of?: string): number => {
  const bytes = new Uint8Array(4)
  getOption(fd, level, option, bytes, of)
  return new DataView(bytes.buffer).getInt32(0, true)
}

/** A new descriptor, closed on exec. @throws SysError that names the path */
export const open = (path: string, flags: number, mode = 0): number =>
  checked(c.open(path, flags | O_CLOEXEC, mode), 'open', path)

/**
 * A pipe that does not block and keeps every write of up to PIPE_BUF bytes apart, for its reader to get one at a time
 * (O_DIRECT of pipe(2)). At least `bytes` of room, if the system lets us. @throws SysError
 */
export const packetPipe = (bytes: number): { readonly reader: number; readonly writer: number } => {
  const fds = new Int32Array(2)
  checked(c.pipe2(fds, O_CLOEXEC | O_NONBLOCK | constants.O_DIRECT), 'pipe2')
  c.fcntl(fds[1], F_SETPIPE_SZ, bytes) // else it has what it has
  return { reader: fds[0], writer: fds[1] }
}

/** What a pipe takes in one piece. */
export const PIPE_BUF = 4096
const F_SETPIPE_SZ = 1031
const F_DUPFD_CLOEXEC = 1030

/** Gives a descriptor up. An error says nothing that could be done, so there is none. */
export const close = (fd: number): void => {
  c.close(fd)
}

/** Another descriptor of the same open file, closed on exec. @throws SysError */
export const duplicate = (fd: number): number => checked(c.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', 'F_DUPFD_CLOEXEC')

/** `of` names the request, for the error. @throws SysError */
export const ioctl = (fd: number, request: number, argument: Pointer, of?: string): number =>
  checked(c.ioctl(fd, request, argument), 'ioctl', of ?? `0x${request.toString(16)}`)

/** Everything written to the file is on the disk. @throws SysError */
export const fsync = (fd: number): void => {
  checked(c.fsync(fd), 'fsync')
}

/** A descriptor that is readable while its counter is not 0. @throws SysError */
export const eventfd = (initial = 0): number => checked(c.eventfd(initial, O_NONBLOCK | O_CLOEXEC), 'eventfd')

// ---- the packet path: a count, or the negative errno

/** sendto(2) without an address when `address` is null. */
export const sendto = (fd: number, data: Pointer, length: number, flags: number, address: Uint8Array | null = null) =>
  orErrno(c.sendto(fd, data, length, flags, address, address === null ? 0 : address.length))

export const recv = (fd: number, data: Pointer, length: number, flags: number): number =>
  orErrno(c.recvfrom(fd, data, length, flags, null, null))

/** recvfrom(2): `addressLength` holds the room of `address` and is set to what it takes. */
export const recvfrom = (
  fd: number,
  data: Pointer,
  length: number,
  flags: number,
  address: Uint8Array,
  addressLength: Uint32Array,
): number => orErrno(c.recvfrom(fd, data, length, flags, address, addressLength))

/** `message` is a struct msghdr, here and below (an array of struct mmsghdr in the plural). */
export const sendmsg = (fd: number, message: Pointer, flags: number): number => orErrno(c.sendmsg(fd, message, flags))
export const recvmsg = (fd: number, message: Pointer, flags: number): number => orErrno(c.recvmsg(fd, message, flags))
export const sendmmsg = (fd: number, messages: Pointer, n: number, flags: number): number =>
  orErrno(c.sendmmsg(fd, messages, n, flags))
export const recvmmsg = (fd: number, messages: Pointer, n: number, flags: number): number =>
  orErrno(c.recvmmsg(fd, messages, n, flags, null))

export const read = (fd: number, data: Pointer, length: number): number => orErrno(c.read(fd, data, length))
export const write = (fd: number, data: Pointer, length: number): number => orErrno(c.write(fd, data, length))
/** `vectors` is an array of n struct iovec. */
export const readv = (fd: number, vectors: Pointer, n: number): number => orErrno(c.readv(fd, vectors, n))
export const writev = (fd: number, vectors: Pointer, n: number): number => orErrno(c.writev(fd, vectors, n))

/** `set` is an array of n struct pollfd; waits for `ms` at most. */
export const poll = (set: Pointer, n: number, ms: number): number => orErrno(c.poll(set, n, ms))

const timespec = new BigInt64Array(2)
/** As poll, by the nanosecond. */
export const ppoll = (set: Pointer, n: number, ns: number): number => {
  timespec[0] = BigInt(Math.floor(ns / 1e9))
  timespec[1] = BigInt(Math.floor(ns % 1e9))
  return orErrno(c.ppoll(set, n, timespec, null))
}

// ---- memory

/** Maps at an address when `flags` has MAP_FIXED; returns where it is. @throws SysError */
export const mmap = (
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
  of?: string,
): number => checked(c.mmap(address, bytes, protection, flags, fd, offset), 'mmap', of)

/** @throws SysError */
export const munmap = (address: number, bytes: number): void => {
  checked(c.munmap(address, bytes), 'munmap')
}

// ---- threads and processes

/** This thread enters a namespace (CLONE_NEW*). @throws SysError */
export const setns = (fd: number, type: number): void => {
  checked(c.setns(fd, type), 'setns')
}

/** This thread gets namespaces of its own (CLONE_NEW*). @throws SysError */
export const unshare = (flags: number): void => {
  checked(c.unshare(flags), 'unshare')
}

/** This thread, or another one by its number, runs on one CPU from now on. @throws SysError */
export const setAffinity = (cpu: number, thread = 0): void => {
  const set = new Uint8Array(128)
  set[cpu >> 3] = 1 << (cpu & 7)
  checked(c.sched_setaffinity(thread, set.length, set), 'sched_setaffinity', `cpu ${cpu}`)
}

const PR_SET_NAME = 15
/** This thread's name, as top and /proc/PID/task/TID/comm show it: 15 bytes of it. @throws SysError */
export const nameThread = (name: string): void => {
  const bytes = new TextEncoder().encode(`${name}\0`)
  prctl(PR_SET_NAME, addressOf(bytes))
}

/** @throws SysError */
export const prctl = (option: number, a2 = 0, a3 = 0, a4 = 0, a5 = 0): number =>
  checked(c.prctl(option, a2, a3, a4, a5), 'prctl', `${option}`)

/** `header` is a struct __user_cap_header_struct, `data` two of __user_cap_data_struct. @throws SysError */
export const capget = (header: Uint8Array, data: Uint8Array): void => {
  checked(c.capget(header, data), 'capget')
}

/** @throws SysError */
export const capset = (header: Uint8Array, data: Uint8Array): void => {
  checked(c.capset(header, data), 'capset')
}

const SYS_BPF: Partial<Record<string, number>> = {
  x64: 321,
  arm64: 280,
  riscv64: 280,
  loong64: 280,
  s390x: 351,
  ppc64: 361,
}

/** bpf(2): `attr` is a union bpf_attr. `of` names the command, for the error. @throws SysError */
export const bpf = (command: number, attr: Uint8Array, of: string): number => {
  const number = SYS_BPF[process.arch]
  if (number === undefined) throw new SysError('bpf', ENOSYS, of)
  return checked(c.syscall(number, command, attr, attr.length, 0, 0, 0), 'bpf', of)
}

const usage = new BigInt64Array(18)
/** CPU time of this thread, in seconds: its own, and the kernel's for it. */
export const threadCpu = (): { readonly user: number; readonly system: number } => {
  checked(c.getrusage(RUSAGE_THREAD, usage), 'getrusage')
  return { user: Number(usage[0]) + Number(usage[1]) / 1e6, system: Number(usage[2]) + Number(usage[3]) / 1e6 }
}

const spent = new BigInt64Array(2)
/** CPU time of this thread, in nanoseconds, all of it: for what lasts less than the others can tell. */
export const threadCpuTime = (): number => {
  checked(c.clock_gettime(CLOCK_THREAD_CPUTIME_ID, spent), 'clock_gettime')
  return Number(spent[0]) * 1e9 + Number(spent[1])
}

/** Nanoseconds since 1970, as captures have it (what a double has of them). */
export const clockRealtime = (): number => {
  checked(c.clock_gettime(CLOCK_REALTIME, spent), 'clock_gettime')
  return Number(spent[0]) * 1e9 + Number(spent[1])
}

/** ifindex of a device of this thread's network namespace, 0 when there is none of that name. */
export const ifindexOf = (name: string): number => c.if_nametoindex(name)

// ---- numbers of the calls above, as <sys/socket.h>, <fcntl.h> and <sys/mman.h> have them

export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const AF_PACKET = 17
export const AF_XDP = 44
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000
export const SOL_SOCKET = 1
export const SO_SNDBUF = 7
export const SO_RCVBUF = 8
export const SO_ATTACH_FILTER = 26
export const SO_SNDBUFFORCE = 32
export const SO_RCVBUFFORCE = 33
export const MSG_TRUNC = 0x20
export const MSG_DONTWAIT = 0x40
export const MSG_NOSIGNAL = 0x4000

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_CREAT = 0o100
export const O_TRUNC = 0o1000
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000

export const POLLIN = 1
export const POLLOUT = 4
export const POLLERR = 8
export const POLLHUP = 16

export const PROT_READ_WRITE = 3
export const MAP_SHARED = 1
export const MAP_PRIVATE = 2
export const MAP_FIXED = 0x10
export const MAP_ANONYMOUS = 0x20
export const MAP_POPULATE = 0x8000

export const CLONE_NEWNET = 0x40000000
const RUSAGE_THREAD = 1
const CLOCK_REALTIME = 0
const CLOCK_THREAD_CPUTIME_ID = 3
const ENOSYS = 38
