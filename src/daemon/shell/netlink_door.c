/*
 * The netlink door: preloaded into a program, it leads the program's NETLINK_ROUTE sockets to the flowerbed daemon.
 *
 * `flowerbed shell` builds it with the machine's C compiler and puts it into LD_PRELOAD; FLOWERBED_RTNETLINK names the
 * daemon's socket. What the program takes for an AF_NETLINK socket is a connected Unix stream on which datagrams are
 * framed (src/rtnl/frame.ts): here is what a netlink socket has and a stream lacks. The borders of datagrams, also for
 * MSG_PEEK and MSG_TRUNC, by which libnetlink sizes its buffer; a port id of its own; multicast groups; addresses of
 * type sockaddr_nl. All of it is per descriptor, and a descriptor is ours only while it is the same socket that we made
 * (device and inode): whatever a program does with close, dup2 or close_range needs no watching. select, poll, epoll and
 * fcntl work on the stream as it is. Other families, and other netlink protocols, stay untouched.
 *
 * Static programs and those that make system calls by themselves (Go) pass it by. One thread at a time may read a socket.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

enum { FRAME_NETLINK, FRAME_PORT, FRAME_JOIN, FRAME_LEAVE, FRAME_OVERRUN };

struct frame_header {
	uint32_t length;
	uint32_t kind;
};

/* One descriptor of ours. */
struct door {
	int used;
	dev_t dev;
	ino_t ino;
	int type;
	uint32_t port;
	uint32_t groups;
};

#define MAX_FD 65536
static struct door *doors[MAX_FD];
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

/* The function behind ours. */
#define REAL(ret, name, ...) \
	static ret (*real)(__VA_ARGS__); \
	if (real == NULL) \
		real = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int real_socket(int family, int type, int protocol)
{
	REAL(int, "socket", int, int, int);
	return real(family, type, protocol);
}

static int real_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	REAL(int, "connect", int, const struct sockaddr *, socklen_t);
	return real(fd, to, len);
}

static ssize_t real_recv(int fd, void *to, size_t len, int flags)
{
	REAL(ssize_t, "recv", int, void *, size_t, int);
	return real(fd, to, len, flags);
}

static ssize_t real_send(int fd, const void *from, size_t len, int flags)
{
	REAL(ssize_t, "send", int, const void *, size_t, int);
	return real(fd, from, len, flags);
}

/* The door behind a descriptor; NULL when it is none of ours, or not any more. */
static struct door *door_of(int fd)
{
	struct stat st;
	struct door *d;

	if (fd < 0 || fd >= MAX_FD || (d = doors[fd]) == NULL || !d->used)
		return NULL;
	int saved = errno;
	int same = fstat(fd, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino;
	errno = saved;
	if (same)
		return d;
	d->used = 0;
	return NULL;
}

static struct door *door_new(int fd, int type)
{
	struct stat st;

	if (fd >= MAX_FD) {
		errno = EMFILE;
		return NULL;
	}
	if (fstat(fd, &st) < 0)
		return NULL;
	if (doors[fd] == NULL && (doors[fd] = calloc(1, sizeof(struct door))) == NULL)
		return NULL;
	*doors[fd] = (struct door){ .used = 1, .dev = st.st_dev, .ino = st.st_ino, .type = type };
	return doors[fd];
}

/* As netlink_autobind: the process id for the first socket, another number while that is taken. */
static uint32_t free_port(int except)
{
	uint32_t pid = (uint32_t)getpid();

	for (uint32_t i = 0;; i++) {
		uint32_t port = i == 0 ? pid : (pid & 0x3fffff) | i << 22;
		int taken = 0;

		for (int fd = 0; fd < 1024 && !taken; fd++) {
			struct door *d = fd == except ? NULL : door_of(fd);
			taken = d != NULL && d->port == port;
		}
		if (!taken || i == 1023)
			return port;
	}
}

static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, -1);
}

/* Sends one frame as a whole. 0, or -1 with errno. */
static int send_frame(int fd, uint32_t kind, const void *payload, size_t length)
{
	struct frame_header h = { .length = (uint32_t)length, .kind = kind };
	char small[4096];
	char *frame = sizeof(h) + length <= sizeof(small) ? small : malloc(sizeof(h) + length);
	size_t done = 0, whole = sizeof(h) + length;
	int result = 0;

	if (frame == NULL) {
		errno = ENOBUFS;
		return -1;
	}
	memcpy(frame, &h, sizeof(h));
	memcpy(frame + sizeof(h), payload, length);
	pthread_mutex_lock(&writing);
	while (done < whole) {
		ssize_t n = real_send(fd, frame + done, whole - done, MSG_NOSIGNAL);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			wait_for(fd, POLLOUT);
		else if (errno != EINTR) {
			if (errno == EPIPE)
				errno = ECONNREFUSED;
			result = -1;
			break;
		}
	}
	pthread_mutex_unlock(&writing);
	if (frame != small)
		free(frame);
	return result;
}

static int send_number(int fd, uint32_t kind, uint32_t value)
{
	return send_frame(fd, kind, &value, sizeof(value));
}

/*
 * Sends a change of groups, and waits until the daemon has read it, which it then does before anything that it reads
 * later: who has joined a group hears of whatever happens from then on, whoever asks for it.
 */
static int send_group(int fd, uint32_t kind, uint32_t group)
{
	int unread = 0;

	if (send_number(fd, kind, group) < 0)
		return -1;
	for (int i = 0; i < 20000 && ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > 0; i++)
		usleep(100);
	return 0;
}

int socket(int family, int type, int protocol)
{
	const char *path = getenv("FLOWERBED_RTNETLINK");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct door *d;
	int fd;

	if (family != AF_NETLINK || protocol != NETLINK_ROUTE || (kind != SOCK_RAW && kind != SOCK_DGRAM) || path == NULL)
		return real_socket(family, type, protocol);
	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(to.sun_path, path);
	fd = real_socket(AF_UNIX, SOCK_STREAM | (type & SOCK_CLOEXEC), 0);
	if (fd < 0)
		return -1;
	if (real_connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		int saved = errno;

		fprintf(stderr, "flowerbed: no daemon answers at %s: %s\n", path, strerror(saved));
		close(fd);
		errno = saved;
		return -1;
	}
	pthread_mutex_lock(&making);
	d = door_new(fd, kind);
	if (d != NULL)
		d->port = free_port(fd);
	pthread_mutex_unlock(&making);
	if (d == NULL || send_number(fd, FRAME_PORT, d->port) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	if (type & SOCK_NONBLOCK)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	REAL(int, "bind", int, const struct sockaddr *, socklen_t);
	struct door *d = door_of(fd);
	const struct sockaddr_nl *nl = (const struct sockaddr_nl *)address;

	if (d == NULL)
		return real(fd, address, len);
	if (len < sizeof(*nl) || nl->nl_family != AF_NETLINK) {
		errno = EINVAL;
		return -1;
	}
	if (nl->nl_pid != 0 && nl->nl_pid != d->port) {
		d->port = nl->nl_pid;
		if (send_number(fd, FRAME_PORT, d->port) < 0)
			return -1;
	}
	for (int i = 0; i < 32; i++) {
		uint32_t bit = UINT32_C(1) << i;

		if ((nl->nl_groups ^ d->groups) & bit)
			if (send_group(fd, nl->nl_groups & bit ? FRAME_JOIN : FRAME_LEAVE, (uint32_t)i + 1) < 0)
				return -1;
	}
	d->groups = nl->nl_groups;
	return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	/* To the kernel, where else: that is where it is connected. */
	return door_of(fd) != NULL ? 0 : real_connect(fd, address, len);
}

/* The address of a netlink socket, as far as there is room. */
static void fill_address(void *to, socklen_t *len, uint32_t port, uint32_t groups)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };

	if (to == NULL || len == NULL)
		return;
	memcpy(to, &nl, *len < sizeof(nl) ? *len : sizeof(nl));
	*len = sizeof(nl);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
	REAL(int, "getsockname", int, struct sockaddr *, socklen_t *);
	struct door *d = door_of(fd);

	if (d == NULL)
		return real(fd, address, len);
	fill_address(address, len, d->port, d->groups);
	return 0;
}

int getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
	REAL(int, "getpeername", int, struct sockaddr *, socklen_t *);

	if (door_of(fd) == NULL)
		return real(fd, address, len);
	fill_address(address, len, 0, 0);
	return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	REAL(int, "setsockopt", int, int, int, const void *, socklen_t);
	struct door *d = door_of(fd);
	uint32_t group;

	if (d == NULL)
		return real(fd, level, name, value, len);
	if (level == SOL_SOCKET && (name == SO_RCVBUFFORCE || name == SO_SNDBUFFORCE))
		name = name == SO_RCVBUFFORCE ? SO_RCVBUF : SO_SNDBUF;
	if (level != SOL_NETLINK)
		return real(fd, level, name, value, len);
	if (len < sizeof(group)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&group, value, sizeof(group));
	if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP) {
		int join = name == NETLINK_ADD_MEMBERSHIP;

		if (group == 0) {
			errno = EINVAL;
			return -1;
		}
		if (group <= 32)
			d->groups = join ? d->groups | UINT32_C(1) << (group - 1) : d->groups & ~(UINT32_C(1) << (group - 1));
		return send_group(fd, join ? FRAME_JOIN : FRAME_LEAVE, group);
	}
	/* Extended acks, strict checks and the like: the daemon always gives them. */
	return 0;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	REAL(int, "getsockopt", int, int, int, void *, socklen_t *);
	struct door *d = door_of(fd);
	int answer;

	if (d == NULL)
		return real(fd, level, name, value, len);
	if (level == SOL_NETLINK) {
		errno = ENOPROTOOPT;
		return -1;
	}
	if (level != SOL_SOCKET || (name != SO_DOMAIN && name != SO_PROTOCOL && name != SO_TYPE))
		return real(fd, level, name, value, len);
	answer = name == SO_DOMAIN ? AF_NETLINK : name == SO_PROTOCOL ? NETLINK_ROUTE : d->type;
	memcpy(value, &answer, *len < sizeof(answer) ? *len : sizeof(answer));
	*len = sizeof(answer);
	return 0;
}

/* ---- out */

static ssize_t send_iov(int fd, const struct iovec *iov, size_t n)
{
	size_t length = 0, at = 0;
	char small[4096] = "";
	char *all;
	int result;

	for (size_t i = 0; i < n; i++)
		length += iov[i].iov_len;
	all = length <= sizeof(small) ? small : malloc(length);
	if (all == NULL) {
		errno = ENOBUFS;
		return -1;
	}
	for (size_t i = 0; i < n; at += iov[i++].iov_len)
		memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
	result = send_frame(fd, FRAME_NETLINK, all, length);
	if (all != small)
		free(all);
	return result < 0 ? -1 : (ssize_t)length;
}

static ssize_t send_one(int fd, const void *from, size_t len)
{
	struct iovec iov = { .iov_base = (void *)from, .iov_len = len };

	return send_iov(fd, &iov, 1);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);

	return door_of(fd) != NULL ? send_iov(fd, msg->msg_iov, msg->msg_iovlen) : real(fd, msg, flags);
}

ssize_t sendto(int fd, const void *from, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	REAL(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);

	return door_of(fd) != NULL ? send_one(fd, from, len) : real(fd, from, len, flags, to, to_len);
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
	return door_of(fd) != NULL ? send_one(fd, from, len) : real_send(fd, from, len, flags);
}

ssize_t write(int fd, const void *from, size_t len)
{
	REAL(ssize_t, "write", int, const void *, size_t);

	return door_of(fd) != NULL ? send_one(fd, from, len) : real(fd, from, len);
}

/* ---- in */

/* Reads exactly so much, once a frame has begun. 1, 0 at the end of the stream, -1 with errno. */
static int recv_exactly(int fd, char *to, size_t length)
{
	while (length > 0) {
		ssize_t n = real_recv(fd, to, length, MSG_WAITALL);

		if (n == 0)
			return 0;
		if (n > 0) {
			to += n;
			length -= (size_t)n;
		} else if (errno == EAGAIN)
			wait_for(fd, POLLIN);
		else if (errno != EINTR)
			return -1;
	}
	return 1;
}

/*
 * Waits, as far as the flags let it, until at least the header of a frame is there, and looks at it. Handles what is no
 * datagram. 1, 0 at the end of the stream, -1 with errno.
 */
static int peek_header(int fd, struct frame_header *h, int flags)
{
	for (;;) {
		ssize_t n = real_recv(fd, h, sizeof(*h), MSG_PEEK | (flags & MSG_DONTWAIT));

		if (n <= 0)
			return (int)n;
		if ((size_t)n < sizeof(*h)) {
			usleep(100);
			continue;
		}
		if (h->kind == FRAME_NETLINK)
			return 1;
		if (recv_exactly(fd, (char *)h, sizeof(*h)) <= 0)
			return 0;
		for (char drop[256]; h->length > 0;) {
			size_t part = h->length < sizeof(drop) ? h->length : sizeof(drop);

			if (recv_exactly(fd, drop, part) <= 0)
				return 0;
			h->length -= (uint32_t)part;
		}
		if (h->kind == FRAME_OVERRUN) {
			errno = ENOBUFS;
			return -1;
		}
	}
}

/* Looks at the first `length` bytes of the stream without taking them. */
static int peek_exactly(int fd, char *to, size_t length)
{
	for (;;) {
		ssize_t n = real_recv(fd, to, length, MSG_PEEK);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (n > 0 && (size_t)n >= length)
			return 1;
		usleep(100);
	}
}

/* Takes one datagram, or looks at it. The bytes copied, or with MSG_TRUNC in `flags` those it has. */
static ssize_t recv_iov(int fd, const struct iovec *iov, size_t n, int flags, int *out_flags)
{
	struct frame_header h;
	size_t room = 0, at = sizeof(h);
	int state = peek_header(fd, &h, flags);
	char small[8192];
	char *all;

	if (state <= 0)
		return state;
	for (size_t i = 0; i < n; i++)
		room += iov[i].iov_len;
	*out_flags = room < h.length ? MSG_TRUNC : 0;
	if (!(flags & MSG_PEEK) || room > 0) {
		all = sizeof(h) + h.length <= sizeof(small) ? small : malloc(sizeof(h) + h.length);
		if (all == NULL) {
			errno = ENOBUFS;
			return -1;
		}
		state = (flags & MSG_PEEK ? peek_exactly : recv_exactly)(fd, all, sizeof(h) + h.length);
		for (size_t i = 0, left = h.length; state > 0 && i < n && left > 0; i++) {
			size_t part = left < iov[i].iov_len ? left : iov[i].iov_len;

			memcpy(iov[i].iov_base, all + at, part);
			at += part;
			left -= part;
		}
		if (all != small)
			free(all);
		if (state <= 0)
			return state;
	}
	return (ssize_t)(flags & MSG_TRUNC || room > h.length ? h.length : room);
}

static ssize_t recv_one(int fd, void *to, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	struct iovec iov = { .iov_base = to, .iov_len = len };
	int out_flags;
	ssize_t n = recv_iov(fd, &iov, 1, flags, &out_flags);

	if (n > 0)
		fill_address(from, from_len, 0, 0);
	return n;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
	int out_flags = 0;
	ssize_t n;

	if (door_of(fd) == NULL)
		return real(fd, msg, flags);
	n = recv_iov(fd, msg->msg_iov, msg->msg_iovlen, flags, &out_flags);
	if (n >= 0) {
		fill_address(msg->msg_name, &msg->msg_namelen, 0, 0);
		msg->msg_controllen = 0;
		msg->msg_flags = out_flags;
	}
	return n;
}

ssize_t recvfrom(int fd, void *to, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	REAL(ssize_t, "recvfrom", int, void *, size_t, int, struct sockaddr *, socklen_t *);

	return door_of(fd) != NULL ? recv_one(fd, to, len, flags, from, from_len)
				   : real(fd, to, len, flags, from, from_len);
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
	return door_of(fd) != NULL ? recv_one(fd, to, len, flags, NULL, NULL) : real_recv(fd, to, len, flags);
}

ssize_t read(int fd, void *to, size_t len)
{
	REAL(ssize_t, "read", int, void *, size_t);

	return door_of(fd) != NULL ? recv_one(fd, to, len, 0, NULL, NULL) : real(fd, to, len);
}

/* What a program that was built with _FORTIFY_SOURCE calls instead. */
ssize_t __recv_chk(int fd, void *to, size_t len, size_t size, int flags)
{
	if (len > size)
		abort();
	return recv(fd, to, len, flags);
}

ssize_t __recvfrom_chk(int fd, void *to, size_t len, size_t size, int flags, struct sockaddr *from, socklen_t *from_len)
{
	if (len > size)
		abort();
	return recvfrom(fd, to, len, flags, from, from_len);
}

ssize_t __read_chk(int fd, void *to, size_t len, size_t size)
{
	if (len > size)
		abort();
	return read(fd, to, len);
}

/* ---- copies of a descriptor are the same socket */

static int copied(int from, int to)
{
	struct door *d = to < 0 ? NULL : door_of(from);

	if (d != NULL && to != from) {
		struct door *copy = door_new(to, d->type);

		if (copy != NULL) {
			copy->port = d->port;
			copy->groups = d->groups;
		}
	}
	return to;
}

int dup(int fd)
{
	REAL(int, "dup", int);
	return copied(fd, real(fd));
}

int dup2(int fd, int to)
{
	REAL(int, "dup2", int, int);
	return copied(fd, real(fd, to));
}

int dup3(int fd, int to, int flags)
{
	REAL(int, "dup3", int, int, int);
	return copied(fd, real(fd, to, flags));
}

static int is_copy(int command)
{
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

int fcntl(int fd, int command, ...)
{
	REAL(int, "fcntl", int, int, ...);
	va_list list;
	void *argument;

	va_start(list, command);
	argument = va_arg(list, void *);
	va_end(list);
	return is_copy(command) ? copied(fd, real(fd, command, argument)) : real(fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
	REAL(int, "fcntl64", int, int, ...);
	va_list list;
	void *argument;

	va_start(list, command);
	argument = va_arg(list, void *);
	va_end(list);
	return is_copy(command) ? copied(fd, real(fd, command, argument)) : real(fd, command, argument);
}
