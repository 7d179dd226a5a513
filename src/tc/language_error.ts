// A command line that `tc` or `ip` would refuse before any message is sent.
//
// `message` is what iproute2 6.1 writes to stderr (without the last newline), `exitCode` what it exits with: 255 where
// the C program calls exit(-1) or returns -1 from main, 1 elsewhere. `word` is the offending word, so that replay can
// say `rules.tc:7: …: word 'foo'`.
//
// Two ways of refusing, as in the C: `exits` is the one that leaves the program on the spot (invarg, duparg, missing
// words), and nobody adds to it; the other returns -1 to its caller, and each caller on the way out adds its own line
// with `refusedBy` ("bad action parsing", "Illegal \"action\"", …).

export class LanguageError extends Error {
  readonly exitCode: number
  readonly word: string | undefined
  /** True when nothing is to be added to the message on the way out. */
  readonly exits: boolean

  constructor(message: string, exitCode = 1, word?: string, exits = false) {
    super(message)
    this.name = 'LanguageError'
    this.exitCode = exitCode
    this.word = word
    this.exits = exits
  }
}

/** What a caller rethrows: the inner refusal with its own line below and its own exit code, or the inner one if that exits. */
export function refusedBy(inner: unknown, line: string, exitCode = 1, word?: string): unknown {
  if (!(inner instanceof LanguageError) || inner.exits) return inner
  const text = inner.message && line ? `${inner.message}\n${line}` : inner.message || line
  return new LanguageError(text, exitCode, inner.word ?? word)
}
