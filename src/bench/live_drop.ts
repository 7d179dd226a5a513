// The sink of `bench live`: an XDP program that drops everything at a device, until the process ends.
import { attachXdp, loadXdpProgram } from '../port/bpf.ts'
import { linkOf } from '../port/link.ts'
import { PortError } from '../port/port_error.ts'

const [device] = process.argv.slice(2)
const link = linkOf(device)
if (link === undefined) throw new PortError(device, 'there is no such device')
// mov r0, XDP_DROP; exit
const program = loadXdpProgram(Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0))
attachXdp(program, link.ifindex, 4)
process.stdout.write('drops\n')
process.stdin.on('end', () => process.exit(0))
process.stdin.resume()
