// The kernel's published netlink specifications (conformance data) against our numbers: every attribute and message that
// both know must have one number.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as Addr from './rtm_addr.ts'
import * as Link from './rtm_link.ts'
import * as Neigh from './rtm_neigh.ts'
import * as Route from './rtm_route.ts'
import * as Action from './tca_action.ts'
import * as Flower from './tca_flower.ts'
import * as Tcm from './tcm.ts'

const DATA = new URL('../../../shared/conformance/netlink-specs/', import.meta.url)
const present = existsSync(DATA)

const ours: Record<string, unknown> = { ...Addr, ...Link, ...Neigh, ...Route, ...Action, ...Flower, ...Tcm }

/** Attribute sets as [kernel name, number], in the specifications' own YAML: sets at two, attributes at six blanks. */
function attributes(yaml: string): [string, number][] {
  const out: [string, number][] = []
  const section = /^attribute-sets:\n([\s\S]*?)(?=^\S)/m.exec(yaml)?.[1] ?? ''
  for (const set of section.split(/^ {2}-\n/m).slice(1)) {
    const prefix = /^ {4}name-prefix: (\S+)/m.exec(set)?.[1]
    if (!prefix || /^ {4}subset-of:/m.test(set)) continue
    let n = 1
    for (const attribute of set.split(/^ {6}-\n/m).slice(1)) {
      const value = /^ {8}value: (\d+)/m.exec(attribute)?.[1]
      const name = /^ {8}name: ['"]?([^\s'"]+)/m.exec(attribute)![1]
      if (value !== undefined) n = Number(value)
      out.push([`${prefix}${name}`.toUpperCase().replaceAll('-', '_'), n])
      n++
    }
  }
  return out
}

/** Messages as [kernel name, number]. */
function operations(yaml: string): [string, number][] {
  const section = /^operations:\n([\s\S]*?)(?=^\S|$(?![\s\S]))/m.exec(yaml)?.[1] ?? ''
  const out: [string, number][] = []
  for (const op of section.split(/^ {4}-\n/m).slice(1)) {
    const name = /^ {6}name: (\S+)/m.exec(op)?.[1]
    const request = /request:[\s\S]*?value: (\d+)/.exec(op)?.[1]
    if (name && request) out.push([`RTM_${name.toUpperCase().replaceAll('-', '')}`, Number(request)])
  }
  return out
}

describe.skipIf(!present)('the published netlink specifications (conformance data)', () => {
  const files: [string, number, number][] = [
    ['rt-link.yaml', 110, 3],
    ['rt-addr.yaml', 8, 3],
    ['rt-route.yaml', 40, 3],
    ['rt-neigh.yaml', 12, 3],
    ['tc.yaml', 250, 9],
  ]
  it.each(files)('%s has our numbers', (file, leastAttributes, leastOperations) => {
    const yaml = readFileSync(new URL(file, DATA), 'utf8')
    const check = (theirs: [string, number][], least: number): void => {
      const known = theirs.filter(([name]) => name in ours)
      expect(known.filter(([name, n]) => ours[name] !== n)).toEqual([])
      expect(known.length).toBeGreaterThanOrEqual(least)
    }
    check(attributes(yaml), leastAttributes)
    check(operations(yaml), leastOperations)
  })
})
