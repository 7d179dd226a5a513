/** Options that do not go together, or a value that means nothing. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
