/** A document that is no report, or no peers to measure: bad input of `flowerbed bench`. */
export class BenchError extends Error {
  override readonly name = 'BenchError'
}
