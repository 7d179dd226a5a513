import { expect, test } from 'vitest'
import { lines, makeWorld } from './world.model.ts'

test('first', () => {
  const w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
  w.tc('tc filter add dev p0 ingress protocol ip pref 10 flower dst_ip 1.1.1.0/24 ip_proto udp dst_port 53 action drop')
  w.tc('tc filter add dev p0 ingress protocol ip pref 10 flower dst_ip 1.1.1.1 action mirred egress redirect dev p1')
  console.log(w.tc('tc -s filter show dev p0 ingress'))
  console.log(w.tc('tc -s qdisc show'))
  console.log(JSON.stringify(w.json('tc filter show dev p0 ingress')))
  expect(lines('')).toEqual([])
})
