import { expect, test } from 'vitest'
import { sendOne } from '../bench/pumped.ts'
import { hostileRules, innerFrame, setup } from '../bench/workload.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'
import { LookupWatch } from './lookup_watch.ts'

test('the log hears of long lookups once a minute, and only of new ones', { timeout: 60_000 }, () => {
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
  })
  for (const line of [...setup(), ...hostileRules(128)]) execute(sw, line.split(' '))
  let sent = 0
  const send = (): void => {
    const frame = innerFrame(0, 64)
    new DataView(frame.buffer).setUint16(28, ++sent)
    sendOne(sw.datapath, sw.portDevice(0), frame)
  }
  const said: [string, string][] = []
  const watch = new LookupWatch(sw.arena, (level, _, message) => said.push([level, message]))

  watch.look(5e9)
  expect(said).toEqual([])
  for (let i = 0; i < 1000; i++) send()
  watch.look(6e9)
  expect(said).toEqual([['warn', expect.stringMatching(/^\d+ lookups had to probe .* \(filters of p0, chain 0\)/)]])
  // Every change of the rules makes the index of masks anew: until then all masks are probed.
  execute(sw, 'tc filter add dev p0 ingress protocol ip pref 20 flower src_ip 203.0.113.2 action drop'.split(' '))
  for (let i = 0; i < 1000; i++) send()
  watch.look(65e9)
  expect(said.length).toBe(1)
  watch.look(66e9)
  expect(said.length).toBe(2)
  watch.look(200e9) // nothing new
  expect(said.length).toBe(2)
  sw.close()
})
