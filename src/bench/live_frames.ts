// What stands in front of `bench live`: an XDP program that hands every frame of one device on to another, until
// the process ends. So they arrive there as frames of a NIC's driver do: with headroom, and in no skb yet.

import { XDP_FLAGS_DRV_MODE } from '../port/af_xdp.ts'
import { attachXdp, loadXdpProgram } from '../port/bpf.ts'
import { linkOf } from '../port/link.ts'
import { PortError } from '../port/port_error.ts'
import { redirectProgram } from '../port/xdp_program.ts'

const [from, to] = process.argv.slice(2).map((device) => {
  const link = linkOf(device)
  if (link === undefined) throw new PortError(device, 'there is no such device')
  return link.ifindex
})
attachXdp(loadXdpProgram(redirectProgram(to)), from, XDP_FLAGS_DRV_MODE)
process.stdout.write('hands on\n')
process.stdin.on('end', () => process.exit(0))
process.stdin.resume()
