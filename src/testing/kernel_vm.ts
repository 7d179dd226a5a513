// A real Linux kernel in an emulator, for questions that only a kernel with flower can answer: Debian's 6.1, under QEMU, with
// this machine's files below it. It needs no root, and no KVM,
// which machines that are guests themselves have badly or not: the kernel is a package that is unpacked into a folder, the
// guest reads the machine's own tc, ip, node and this checkout through 9p, and can write to one folder only.
//
//   const kernel = fetchKernel(say)         once; later calls find it in the cache
//   await boot(kernel, jobsFolder, say)     kernel_guest.ts answers every job in the folder, then the guest switches itself off

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

/** An unpacked kernel package. */
export interface Kernel {
  readonly folder: string
  /** As `uname -r` has it. */
  readonly version: string
}

/** The programs, and the Debian package of each. */
const PROGRAMS: readonly (readonly [program: string, pkg: string])[] = [
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['busybox', 'busybox-static'],
  ['depmod', 'kmod'],
  ['tc', 'iproute2'],
  ['tcpdump', 'tcpdump'],
  ['ethtool', 'ethtool'],
]
/** What the guest must have before it can read the machine's files. */
const FIRST_MODULES = ['virtio_pci', '9pnet_virtio', '9p']
const GUEST = 'src/testing/kernel_guest.ts'
const root = fileURLToPath(new URL('../..', import.meta.url))

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

/**
 * The kernel, from the cache or from Debian; as root, the packages of programs that are missing are installed.
 * @throws Error that names what is missing
 */
export function fetchKernel(say: (text: string) => void): Kernel {
  const missing = PROGRAMS.filter(([program]) => !has(program)).map(([, pkg]) => pkg)
  if (missing.length > 0) {
    if (process.getuid?.() !== 0 || !has('apt-get')) throw new Error(`needs the Debian packages ${missing.join(', ')}`)
    say(`installing ${missing.join(', ')}`)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { stdio: 'ignore' })
  }
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'flowerbed')
  mkdirSync(cache, { recursive: true })
  const there = readdirSync(cache).find((f) => f.startsWith('linux-image-') && !f.endsWith('.part'))
  if (there !== undefined) return { folder: join(cache, there), version: there.slice('linux-image-'.length) }
  if (!has('apt-get')) throw new Error('needs apt-get, to fetch the kernel')
  const depends = execFileSync('apt-cache', ['depends', 'linux-image-amd64'], { encoding: 'utf8' })
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1]
  if (name === undefined) throw new Error('apt knows no package linux-image-amd64')
  const version = name.slice('linux-image-'.length)
  const folder = join(cache, name)
  const part = `${folder}.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(part)
  say(`fetching ${name}`)
  execFileSync('apt-get', ['download', name], { cwd: part, stdio: 'ignore' })
  const deb = readdirSync(part).find((f) => f.endsWith('.deb'))
  execFileSync('dpkg-deb', ['-x', deb ?? '', '.'], { cwd: part })
  rmSync(join(part, deb ?? ''))
  execFileSync('depmod', ['-b', part, version])
  renameSync(part, folder)
  return { folder, version }
}

/** Modules and all that they need, in the order in which they can be loaded: paths below lib/modules/VERSION. */
function withNeeds(k: Kernel, names: readonly string[]): string[] {
  const needs = new Map<string, string[]>()
  for (const line of readFileSync(join(k.folder, 'lib/modules', k.version, 'modules.dep'), 'utf8').split('\n')) {
    const [path, rest = ''] = line.split(':')
    needs.set(path, rest.split(' ').filter(Boolean))
  }
  const nameOf = (path: string): string => /([^/]+)\.ko/.exec(path)?.[1].replaceAll('-', '_') ?? path
  const out: string[] = []
  for (const name of names) {
    const path = [...needs.keys()].find((p) => nameOf(p) === name)
    // Not a module of this kernel: built in.
    if (path === undefined) continue
    // modules.dep names the nearest need first.
    for (const p of [...(needs.get(path) ?? []).slice().reverse(), path]) if (!out.includes(p)) out.push(p)
  }
  return out
}

/** One entry of a cpio archive, in the format `newc`, that the kernel unpacks as its first file system. */
function cpioEntry(name: string, mode: number, data: Uint8Array, inode: number): Buffer {
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0]
  const head = `070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}${name}\0`
  const padded = (b: Uint8Array): Buffer => Buffer.concat([b, Buffer.alloc((4 - (b.length % 4)) % 4)])
  return Buffer.concat([padded(Buffer.from(head)), padded(data)])
}

const DIRECTORY = 0o40755
const PROGRAM = 0o100755
const FILE = 0o100644

/**
 * The first file system: busybox, the modules for 9p, and a script that goes on in the machine's own files. The script stays
 * process 1: the kernel looks for modprobe, and that for modules, where process 1 has its root.
 */
function initrd(k: Kernel, guest: string): Buffer {
  const modules = withNeeds(k, FIRST_MODULES)
  const script = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
${modules.map((_, i) => `insmod /modules/${i}.ko`).join('\n')}
share() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,$3 $1 $2 || poweroff -f; }
share machine /host ro,cache=loose
for f in proc sys dev; do mount -o bind /$f /host/$f; done
mount -t tmpfs run /host/run
mkdir /host/run/jobs
share jobs /host/run/jobs rw,cache=none
ln -s /host${k.folder}/lib/modules /lib/modules
echo /bin/modprobe > /proc/sys/kernel/modprobe
env PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run chroot /host ${process.execPath} ${guest} /run/jobs
poweroff -f
`
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim()
  const entries: [string, number, Uint8Array][] = [
    ...['bin', 'proc', 'sys', 'dev', 'host', 'lib', 'modules'].map((d): [string, number, Uint8Array] => [
      d,
      DIRECTORY,
      new Uint8Array(),
    ]),
    ['bin/busybox', PROGRAM, readFileSync(busybox)],
    ['init', PROGRAM, Buffer.from(script)],
    ...modules.map((path, i): [string, number, Uint8Array] => [
      `modules/${i}.ko`,
      FILE,
      readFileSync(join(k.folder, 'lib/modules', k.version, path)),
    ]),
    ['TRAILER!!!', 0, new Uint8Array()],
  ]
  return gzipSync(Buffer.concat(entries.map(([name, mode, data], i) => cpioEntry(name, mode, data, i + 1))), {
    level: 1,
  })
}

/** kernel_guest.ts as JavaScript, where node finds this checkout's packages. */
function compileGuest(): string {
  const out = join(root, 'node_modules/.cache/kernel_guest')
  mkdirSync(out, { recursive: true })
  const compilerOptions = { rootDir: join(root, 'src'), outDir: out, sourceMap: false }
  const config = {
    extends: join(root, 'tsconfig.build.json'),
    compilerOptions,
    include: [join(root, GUEST)],
    exclude: [],
  }
  writeFileSync(join(out, 'tsconfig.json'), JSON.stringify(config))
  writeFileSync(join(out, 'package.json'), '{ "type": "module" }\n')
  const tsc = join(createRequire(import.meta.url).resolve('typescript/package.json'), '../bin/tsc')
  const r = spawnSync(process.execPath, [tsc, '-p', out], { cwd: root, encoding: 'utf8' })
  if (r.status !== 0) throw new Error(`the guest does not compile: ${r.stdout}${r.stderr}`)
  return join(out, 'testing/kernel_guest.js')
}

/**
 * Boots the kernel; kernel_guest.ts answers the jobs in a folder. Resolves when the guest has switched itself off.
 * @param say what the guest says, line by line
 * @throws Error when it ends otherwise, with the end of the console's text
 */
export async function boot(k: Kernel, jobs: string, say: (text: string) => void): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
  try {
    const image = join(work, 'initrd.gz')
    writeFileSync(image, initrd(k, compileGuest()))
    const vmlinuz = join(k.folder, `boot/vmlinuz-${k.version}`)
    const share = (path: string, tag: string, ...more: string[]): string[] => [
      '-virtfs',
      [`local,path=${path}`, `mount_tag=${tag}`, 'security_model=none', 'multidevs=remap', ...more].join(','),
    ]
    const line = 'console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable'
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-cpu', 'max', '-m', '1024', '-nographic', '-no-reboot', '-net', 'none'],
        ...['-kernel', vmlinuz, '-initrd', image, '-append', line],
        ...[...share('/', 'machine', 'readonly=on'), ...share(jobs, 'jobs')],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let console = ''
    const heard = (d: Buffer): void => {
      console += d
      const lines = console.split(/\r?\n/)
      console = lines.pop() ?? ''
      // Without the escape sequences by which the firmware clears the screen.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      for (const l of lines.map((x) => x.replace(/\x1b[c[][?0-9;]*[a-zA-Z]?/g, ''))) if (l !== '') say(l)
    }
    child.stdout.on('data', heard)
    child.stderr.on('data', heard)
    const status = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve))
    if (status !== 0) throw new Error(`the emulator ended with exit status ${status}: ${console}`)
  } finally {
    rmSync(work, { recursive: true })
  }
}
