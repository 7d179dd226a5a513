// What is beside us: the version of Node, a C compiler for `flowerbed shell`, the optional package raw-socket.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { type Check, error, ok, warning } from './check.ts'

const NODE = [20, 19] as const

export const programs: Check = {
  name: 'programs',
  about: 'Node, a C compiler, raw-socket',
  run() {
    const [major, minor] = process.versions.node.split('.').map(Number)
    const cc = process.env.CC ?? 'cc'
    return [
      major > NODE[0] || (major === NODE[0] && minor >= NODE[1])
        ? ok(`Node ${process.versions.node}`)
        : error(`Node ${process.versions.node} is too old`, `Node ${NODE.join('.')} or newer`),
      spawnSync(cc, ['--version'], { stdio: 'ignore' }).status === 0
        ? ok(`a C compiler: ${cc}`)
        : warning(
            `no C compiler (${cc})`,
            'flowerbed shell needs one; flowerbed tc and flowerbed ip do the same without',
          ),
      rawSocket()
        ? ok('raw-socket is installed')
        : warning('raw-socket is not installed', 'no raw_ip ports: npm install raw-socket (it compiles C++)'),
    ]
  },
}

function rawSocket(): boolean {
  try {
    createRequire(import.meta.url).resolve('raw-socket')
    return true
  } catch {
    return false
  }
}
