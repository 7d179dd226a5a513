/** The daemon cannot be reached: the system's answer, with what to do about it. */
export class SocketError extends Error {
  override readonly name = 'SocketError'

  constructor(path: string, e: NodeJS.ErrnoException) {
    const why =
      e.code === 'ENOENT' || e.code === 'ECONNREFUSED'
        ? 'no daemon answers; "flowerbed run" starts one, --socket names another socket'
        : e.code === 'EACCES'
          ? 'permission denied; the socket belongs to the daemon’s user and group'
          : e.message
    super(`${path}: ${why}`)
  }
}
