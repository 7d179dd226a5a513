// The checks, in the order in which they are told.
import { capabilities } from './capabilities.ts'
import type { Check } from './check.ts'
import { kernel } from './kernel.ts'
import { memlock } from './memlock.ts'
import { mtu } from './mtu.ts'
import { offloads } from './offloads.ts'
import { programs } from './programs.ts'
import { rpFilter } from './rp_filter.ts'

export const checks: readonly Check[] = [programs, kernel, capabilities, memlock, mtu, offloads, rpFilter]
