# What a program sees of a socket behind the netlink door; run by door.test.ts inside the shell of a daemon.
import os
import select
import socket
import struct

ROUTE, GENERIC, SOL_NETLINK = 0, 16, 270
GETLINK = struct.pack('=IHHII', 32, 18, 0x301, 5, 0) + bytes(16)


def check(what, said, wanted):
    if said != wanted:
        raise SystemExit(f'{what}: {said!r}, not {wanted!r}')


def drain(s):
    done = False
    while not done:
        data = s.recv(65536)
        o = 0
        while o < len(data):
            length, kind, _, seq, pid = struct.unpack_from('=IHHII', data, o)
            check('sequence number', seq, 5)
            check('port id', pid, s.getsockname()[0])
            done = kind == 3
            o += (length + 3) & ~3


s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ROUTE)
s.bind((0, 0))
check('first port id', s.getsockname(), (os.getpid(), 0))
t = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, ROUTE)
check('second port id is another', t.getsockname()[0] != os.getpid(), True)
check('domain', s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN), socket.AF_NETLINK)

# Looking does not take, and MSG_TRUNC tells the length.
s.sendto(GETLINK, (0, 0))
check('readable', select.select([s], [], [], 5)[0], [s])
size = s.recv_into(bytearray(4), 4, socket.MSG_PEEK | socket.MSG_TRUNC)
check('peek tells the whole length, and takes nothing', len(s.recv(65536, socket.MSG_PEEK)), size)
data, _, flags, address = s.recvmsg(16)
check('a short buffer truncates', (len(data), bool(flags & socket.MSG_TRUNC), address), (16, True, (0, 0)))
s.sendto(GETLINK, (0, 0))
while True:
    data, address = s.recvfrom(65536)
    if struct.unpack_from('=IH', data)[1] == 16:
        break

# Two sockets, interleaved; a copy is the same socket.
t.send(GETLINK)
drain(t)
u = t.dup()
u.send(GETLINK)
drain(t)

# Nothing there: EAGAIN, and no readiness.
for flags in (socket.MSG_DONTWAIT, 0):
    if flags == 0:
        t.setblocking(False)
    try:
        t.recv(100, flags)
        raise SystemExit('a message from nowhere')
    except BlockingIOError:
        pass
check('not readable', select.select([t], [], [], 0)[0], [])

# Groups, by bind and by membership: RTNLGRP_LINK is 1, RTNLGRP_NEIGH 3.
m = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, ROUTE)
m.bind((0, 1))
m.setsockopt(SOL_NETLINK, 1, 3)
check('groups', m.getsockname()[1], 5)
u.close()
t.setblocking(True)
up = struct.pack('=IHHII', 32, 16, 5, 9, 0) + struct.pack('=BBHiII', 0, 0, 0, 2, 0, 1)
t.send(up)
check('acknowledged', struct.unpack_from('=IHHIIi', t.recv(4096))[5], 0)
check('heard', struct.unpack_from('=IH', m.recv(65536))[1], 16)
m.close()

# Other protocols and families are the kernel's; a number used again is not ours.
g = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
g.bind((0, 0))
check('generic netlink', g.getsockopt(socket.SOL_SOCKET, 38), GENERIC)
a, b = socket.socketpair()
number = t.fileno()
os.dup2(a.fileno(), number)
os.write(number, b'plain')
check('a descriptor that is something else now', b.recv(100), b'plain')
print('ok')
