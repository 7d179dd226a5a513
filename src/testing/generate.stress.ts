// npm run generate [-- SEED [PAIRS]]: random rules × random packets against the slow switch (generate.fixture.ts) until
// so many pairs of a rule and a packet have met; 1 000 000 by default. Exit status 1 at the first difference.

import { openWorld, round } from './generate.fixture.ts'

const PACKETS = 400
const PERIOD = 100

const seed = Number(process.argv[2] ?? 1)
const wanted = Number(process.argv[3] ?? 1_000_000)
const w = openWorld()
let pairs = 0
let hits = 0
let rounds = 0
try {
  for (let s = seed; pairs < wanted; s++) {
    const r = round(w, s, PACKETS)
    pairs += r.pairs
    hits += r.hits
    if (++rounds % PERIOD === 0) process.stdout.write(`${rounds} rounds, ${pairs} pairs, ${hits} hits\n`)
  }
  process.stdout.write(`no difference: ${pairs} pairs in ${rounds} rounds from seed ${seed} on, ${hits} hits\n`)
} catch (e) {
  process.stdout.write(`${(e as Error).message}\n`)
  process.exitCode = 1
}
