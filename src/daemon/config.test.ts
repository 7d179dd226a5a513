import { expect, test } from 'vitest'
import { defaultConfig, parseConfig } from './config.ts'

test('defaults', () => {
  expect(defaultConfig()).toEqual({
    socket: '/run/flowerbed/rtnetlink.sock',
    mode: 0o660,
    http: '/run/flowerbed/http.sock',
    log: 'info',
    ports: [],
    scripts: [],
    workers: undefined,
    controlWorkers: undefined,
    journal: undefined,
    httpListen: undefined,
    busyPoll: false,
    pin: false,
  })
})

test('a whole configuration', () => {
  const port = { driver: 'dummy', role: 'access', neigh: 'kernel', zerocopy: false }
  const text = `
socket: /tmp/x.sock
mode: "0600"
log: debug
ports:
  - name: p0
  - { name: p1, driver: dummy, mac: 02:00:00:00:00:AB, mtu: 9000 }
  - { name: p2, driver: af_packet, device: eth1, role: uplink, neigh: own }
scripts: [setup.tc, /etc/rules.tc]
workers: 2
control_workers: 3
busy_poll: true
pin: true
journal: { path: /var/lib/j.pcap, sync: interval, interval_ms: 50, compact_mb: 64 }
http_listen: '[::1]:9100'
`
  expect(parseConfig(text, '/etc/flowerbed.yaml')).toEqual({
    socket: '/tmp/x.sock',
    mode: 0o600,
    http: '/tmp/http.sock',
    log: 'debug',
    ports: [
      { ...port, name: 'p0', device: 'p0', mac: Uint8Array.of(2, 0, 0, 0, 0, 0), mtu: 1500 },
      { ...port, name: 'p1', device: 'p1', mac: Uint8Array.of(2, 0, 0, 0, 0, 0xab), mtu: 9000 },
      {
        ...port,
        name: 'p2',
        driver: 'af_packet',
        device: 'eth1',
        role: 'uplink',
        neigh: 'own',
        mac: Uint8Array.of(2, 0, 0, 0, 0, 2),
        mtu: 1500,
      },
    ],
    scripts: ['/etc/setup.tc', '/etc/rules.tc'],
    workers: 2,
    controlWorkers: 3,
    journal: { path: '/var/lib/j.pcap', sync: 'interval', intervalMs: 50, compactBytes: 64 << 20 },
    httpListen: { host: '::1', port: 9100 },
    busyPoll: true,
    pin: true,
  })
})

test.each([
  ['ports:\n  - name: p0\n    role: uplink\n', /^c\.yaml:3: .*the driver dummy has no option role$/],
  [
    'ports:\n  - name: p0\n    driver: tap\n    zerocopy: true\n',
    /^c\.yaml:4: .*the driver tap has no option zerocopy$/,
  ],
  [
    'ports:\n  - name: p0\n    driver: raw_ip\n    device: eth0\n',
    /^c\.yaml:4: .*the driver raw_ip has no option device$/,
  ],
  ['ports:\n  - name: p0\n    in: a.pcap\n', /^c\.yaml:3: .*the driver dummy has no option in$/],
  ['ports:\n  - name: p0\n    driver: pcap\n    rate: 0\n', /^c\.yaml:4: .*rate/],
  ['ports:\n  - name: p0\n    driver: tap\n    neigh: own\n', /^c\.yaml:4: .*only an uplink has neighbours/],
  ['ports:\n  - name: p0\n    driver: magic\n', /^c\.yaml:3: .*no such port driver: magic/],
  ['ports:\n  - name: p0\n\n    mtuu: 1\n', /^c\.yaml:4: there is no option mtuu$/],
  ['log: info\nworker: 3\n', /^c\.yaml:2: there is no option worker$/],
  ['ports:\n  - name: p0\n  - name: p0\n', /^c\.yaml:3: ports\[1\]\.name: there is a device p0 already$/],
  ['ports:\n  - name: lo\n', /^c\.yaml:2: .*there is a device lo already$/],
  ['ports:\n  - mtu: 1500\n', /^c\.yaml:2: ports\[0\]\.name: /],
  ['ports:\n  - name: a name\n', /^c\.yaml:2: .*1 to 15 characters/],
  ['ports:\n  - name: p0\n    mtu: 12\n', /^c\.yaml:3: ports\[0\]\.mtu: /],
  ['ports:\n  - name: p0\n    mac: 01:00:00:00:00:01\n', /^c\.yaml:3: .*multicast/],
  ['mode: 0660x\n', /^c\.yaml:1: mode: expected a file mode/],
  ['log: loud\n', /^c\.yaml:1: log: /],
  ['log: info\nports: [\n', /^c\.yaml:\d: /],
  ['- a list\n', /^c\.yaml:1: /],
])('what is wrong is said with its line: %j', (text, message) => {
  expect(() => parseConfig(text, 'c.yaml')).toThrow(message)
})
