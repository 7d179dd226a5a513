import { expect, test } from 'vitest'
import { TraceReader, traceOpen } from '../encap/trace.ts'
import { traceEvent } from '../encap/trace_points.ts'
import { makeWorld } from './world.model.ts'

const F = 'dev p0 ingress protocol ip pref 10'

test('filters tell the trace points what a driver would be told', () => {
  const w = makeWorld({ bytes: 64 << 20, counters: 4096 })
  w.tc('tc qdisc add dev p0 clsact')
  traceOpen(w.a, 64)
  const reader = new TraceReader(w.a)
  const events = (line: string): string[] => {
    try {
      w.tc(line)
    } catch {}
    const all = reader.read().map(traceEvent)
    return all
      .filter((e) => e.event.startsWith('mlx5e_'))
      .map((e) => `${e.event.slice(6)} ${e.text.replace(/^cookie=0*/, '')}`)
  }
  const add = (last: number, actions: string, verb = 'add'): string =>
    `tc filter ${verb} ${F} handle ${last} flower ip_proto udp dst_ip 10.0.0.${last} ${actions}`
  expect(events(add(1, 'action vlan push id 5 action mirred egress redirect dev p1'))).toEqual([
    'configure_flower 100000 actions= VLAN_PUSH REDIRECT ',
  ])
  expect(events(add(1, 'action drop'))).toEqual([]) // there already: no driver hears of it
  expect(
    events(add(2, 'action pedit ex munge ip ttl set 3 munge ip dst set 1.2.3.4 action csum ip action simple sdata x')),
  ).toEqual(['configure_flower 100001 actions= MANGLE MANGLE CSUM UNKNOWN '])
  expect(events(add(1, 'action goto chain 3', 'replace'))).toEqual([
    'configure_flower 100002 actions= GOTO ',
    'delete_flower 100000 actions= NULL',
  ])
  expect(events('tc -s filter show dev p0 ingress')).toEqual([
    'stats_flower 100002 bytes=0 packets=0 lastused=0',
    'stats_flower 100001 bytes=0 packets=0 lastused=0',
  ])
  expect(events(`tc filter del ${F} handle 1 flower`)).toEqual(['delete_flower 100002 actions= NULL'])
  expect(events(`tc filter del ${F} handle 1 flower`)).toEqual([])
  expect(events('tc filter del dev p0 ingress pref 10')).toEqual(['delete_flower 100001 actions= NULL'])
})
