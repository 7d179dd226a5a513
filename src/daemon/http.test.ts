// The HTTP door, asked as clients ask it: over the Unix socket and over TCP.
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { get, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { serveHttp } from './http.ts'
import { QueryError } from './tables/table.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-http-'))
afterAll(() => rmSync(dir, { recursive: true }))
const socketPath = join(dir, 'below/http.sock')

interface Answer {
  status: number
  type: string
  body: string
}

function read(response: IncomingMessage): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let body = ''
    response.on('data', (text) => {
      body += text
    })
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body }),
    )
    response.on('error', reject)
  })
}

const ask = (path: string, o: object = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, agent: false, ...o }, (r) => resolve(read(r)))
    asked.on('error', reject)
    asked.end()
  })

test('tables, metrics, and refusals; over the Unix socket and over TCP', async () => {
  const http = await serveHttp({
    path: socketPath,
    mode: 0o600,
    listen: { host: '127.0.0.1', port: 0 },
    metrics: async () => ({ type: 'text/plain; version=0.0.4', text: 'rules 3\n' }),
    page: () => '<!doctype html><title>flowerbed</title>',
  })
  try {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600)
    http.route('/flows', (query) => [{ hook: 'p0-ingress', ...query }])
    http.route('/asked', () => {
      throw new QueryError('there is no such thing here')
    })
    http.route('/broken', () => {
      throw new Error('the table is on fire')
    })
    expect(await ask('/flows?pref=7')).toEqual({
      status: 200,
      type: 'application/json',
      body: '[{"hook":"p0-ingress","pref":"7"}]',
    })
    expect(JSON.parse((await ask('/')).body)).toEqual({ paths: ['/asked', '/broken', '/events', '/flows', '/metrics'] })
    expect((await ask('/', { headers: { accept: 'text/html,*/*' } })).body).toContain('<title>flowerbed')
    expect(await ask('/metrics')).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4', body: 'rules 3\n' })
    expect(await ask('/nothing')).toMatchObject({ status: 404, body: '{"error":"there is no /nothing"}' })
    expect(await ask('/asked?x=1')).toMatchObject({ status: 400, body: '{"error":"there is no such thing here"}' })
    expect(await ask('/broken')).toMatchObject({ status: 500, body: '{"error":"the table is on fire"}' })
    expect(await ask('/flows', { method: 'DELETE' })).toMatchObject({ status: 405 })
    const tcp = await new Promise<Answer>((resolve) => {
      get({ host: '127.0.0.1', port: http.port, path: '/metrics', agent: false }, (r) => resolve(read(r)))
    })
    expect(tcp.body).toBe('rules 3\n')
  } finally {
    await http.close()
  }
  expect(existsSync(socketPath)).toBe(false)
})

test('ports are changed over the Unix socket, not over TCP', async () => {
  const asked: unknown[] = []
  const http = await serveHttp({
    path: socketPath,
    listen: { host: '127.0.0.1', port: 0 },
    ports: {
      add: async (raw) => void asked.push(raw),
      remove: async (name) => {
        throw new RangeError(`there is no ${name}`)
      },
    },
  })
  const post = (where: object): Promise<Answer> =>
    new Promise((resolve) => {
      const r = request({ path: '/ports', method: 'POST', agent: false, ...where }, (x) => resolve(read(x)))
      r.end('{"name":"p5"}')
    })
  try {
    expect(await post({ socketPath })).toMatchObject({ status: 200 })
    expect(await post({ host: '127.0.0.1', port: http.port })).toMatchObject({ status: 405 })
    expect(asked).toEqual([{ name: 'p5' }])
    expect(await ask('/ports/p5', { method: 'DELETE' })).toMatchObject({
      status: 422,
      body: '{"error":"there is no p5","name":"RangeError"}',
    })
  } finally {
    await http.close()
  }
})

test('events: each follower gets them from when it came; the end of the server ends them', async () => {
  const http = await serveHttp({ path: socketPath })
  http.tell({ event: 'flow_path', cookie: 'before anybody came' })
  const response = await new Promise<IncomingMessage>((resolve) => {
    get({ socketPath, path: '/events', agent: false }, resolve)
  })
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  response.on('error', () => {})
  await expect.poll(() => http.followed).toBe(true)
  http.tell({ event: 'encap_state', encap: 1, header: true })
  http.tell({ event: 'neigh_state', dst: '10.0.0.2' })
  await expect.poll(() => text).toContain('10.0.0.2')
  expect(text).toContain('event: encap_state\ndata: {"encap":1,"header":true}\n\n')
  expect(text).not.toContain('before')
  response.destroy()
  await expect.poll(() => http.followed).toBe(false)
  await http.close()
})

test('a follower that does not read loses events, and hears how many', async () => {
  const http = await serveHttp({ path: socketPath })
  const response = await new Promise<IncomingMessage>((resolve) => {
    get({ socketPath, path: '/events', agent: false }, resolve)
  })
  response.pause()
  await expect.poll(() => http.followed).toBe(true)
  const told = 3000
  for (let i = 0; i < told; i++) http.tell({ event: 'e', i })
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  response.on('error', () => {})
  response.resume()
  await expect.poll(() => text).toContain('event: lost')
  const lost = Number(/event: lost\ndata: \{"events":(\d+)\}/.exec(text)?.[1])
  await expect.poll(() => text.match(/event: e\n/g)?.length).toBe(told - lost)
  expect(lost).toBeGreaterThan(0)
  await http.close()
})

test('a TCP address that is taken: the error, and nothing is left', async () => {
  const first = await serveHttp({ path: socketPath, listen: { host: '127.0.0.1', port: 0 } })
  const other = join(dir, 'other.sock')
  await expect(serveHttp({ path: other, listen: { host: '127.0.0.1', port: first.port } })).rejects.toThrow(
    'EADDRINUSE',
  )
  expect(existsSync(other)).toBe(false)
  await expect(serveHttp({ path: socketPath })).rejects.toThrow('EADDRINUSE')
  await first.close()
})
