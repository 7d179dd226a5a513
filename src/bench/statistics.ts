/** The middle value (the mean of both middle ones). */
export function median(values: readonly number[]): number {
  const s = [...values].sort((a, b) => a - b)
  const half = s.length >> 1
  return s.length % 2 === 1 ? s[half] : (s[half - 1] + s[half]) / 2
}

/** How far the runs lie apart: (largest - smallest) / median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values)
}
