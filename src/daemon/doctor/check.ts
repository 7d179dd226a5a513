// The contract of a check of `flowerbed doctor`: one file each, named like what it looks at, listed in index.ts.
//
// A check looks at the machine and says what it found, in a sentence, and when that is no good what to do. One that can
// be mended says how by `fix`, which the user must have asked for. It never throws for what it finds; what it cannot find
// out is a warning. It changes nothing but in `fix`.

import type { Config } from '../config.ts'

export type Verdict =
  /** As it should be. */
  | 'ok'
  /** Works, but not as well, or not for everything. */
  | 'warning'
  /** What the configuration asks for cannot work. */
  | 'error'
  /** Does not apply here. */
  | 'skipped'

export interface Finding {
  readonly verdict: Verdict
  /** What was found: one line. */
  readonly found: string
  /** What to do about it, one line; a command where there is one. */
  readonly advice?: string
  /** Mends it. Throws the system's error. */
  fix?(): void
}

export interface Check {
  readonly name: string
  /** What it is about, for a reader. */
  readonly about: string
  run(config: Config): Finding[]
}

export const ok = (found: string): Finding => ({ verdict: 'ok', found })
export const warning = (found: string, advice: string, fix?: () => void): Finding => ({
  verdict: 'warning',
  found,
  advice,
  ...(fix === undefined ? {} : { fix }),
})
export const error = (found: string, advice: string): Finding => ({ verdict: 'error', found, advice })
export const skipped = (found: string): Finding => ({ verdict: 'skipped', found })
