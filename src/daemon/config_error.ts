/** A configuration, or a start-up script, that cannot be used; the message says where and why. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
