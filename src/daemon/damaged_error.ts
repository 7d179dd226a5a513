/** A journal that is damaged, or says what can no more be done; the message says where and why. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError'
}
