// Timers of things that are numbers: a binary heap by expiry, where setting a timer anew leaves the old item behind to
// be passed over. One thread's.

export class TimerHeap {
  readonly #expires: number[] = []
  readonly #what: number[] = []
  readonly #set = new Map<number, number>()

  /** Sets the timer of `what`, in place of one it had. */
  arm(what: number, expires: number): void {
    if (this.#set.get(what) === expires) return
    this.#set.set(what, expires)
    this.#push(expires, what)
  }

  cancel(what: number): void {
    this.#set.delete(what)
  }

  /** When the next timer runs out, Infinity when none is set. */
  next(): number {
    this.#clean()
    return this.#expires.length === 0 ? Number.POSITIVE_INFINITY : this.#expires[0]
  }

  /** Takes the first timer that runs out at or before `now`; -1 when there is none. */
  take(now: number): number {
    this.#clean()
    if (this.#expires.length === 0 || this.#expires[0] > now) return -1
    const what = this.#what[0]
    this.#set.delete(what)
    this.#pop()
    return what
  }

  #clean(): void {
    while (this.#expires.length > 0 && this.#set.get(this.#what[0]) !== this.#expires[0]) this.#pop()
  }

  #push(expires: number, what: number): void {
    const e = this.#expires
    const w = this.#what
    let i = e.length
    e.push(expires)
    w.push(what)
    while (i > 0) {
      const up = (i - 1) >> 1
      if (e[up] <= expires) break
      e[i] = e[up]
      w[i] = w[up]
      i = up
    }
    e[i] = expires
    w[i] = what
  }

  #pop(): void {
    const e = this.#expires
    const w = this.#what
    const expires = e.pop() as number
    const what = w.pop() as number
    const n = e.length
    if (n === 0) return
    let i = 0
    for (;;) {
      let c = 2 * i + 1
      if (c >= n) break
      if (c + 1 < n && e[c + 1] < e[c]) c++
      if (e[c] >= expires) break
      e[i] = e[c]
      w[i] = w[c]
      i = c
    }
    e[i] = expires
    w[i] = what
  }
}
