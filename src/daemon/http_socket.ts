// In a file of its own: clients need it, and nothing of a server.

/** Where the daemon's HTTP listens and clients look unless told otherwise. */
export const DEFAULT_HTTP_SOCKET = '/run/flowerbed/http.sock'
