// log.txt: each command of a scenario that printed something or failed, with what it said, in the order of time.

export interface LogEntry {
  /** `rules.tc:7` */
  readonly where: string
  readonly words: readonly string[]
  /** Virtual time, nanoseconds. */
  readonly time: number
  /** What the command printed. */
  readonly printed: string
  /** Why it failed; empty when it did not. */
  readonly failed: string
}

/** The log as text: a line that names the command and its moment, and below it what it said. */
export function logText(log: readonly LogEntry[]): string {
  return log
    .map((e) => {
      const said = (e.failed || e.printed).replace(/\n+$/, '')
      return `# ${(e.time / 1e9).toFixed(6)} ${e.where}: ${e.words.join(' ')}\n${said}\n`
    })
    .join('\n')
}
