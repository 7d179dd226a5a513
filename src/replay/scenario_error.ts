/** Bad input, found before anything is done: what is wrong and where. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError'
}
