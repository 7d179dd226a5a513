// The error of this folder: no room, or a request that can never be met.

/** Control answers ENOMEM. */
export class MemoryError extends Error {
  readonly errno = 12
}
