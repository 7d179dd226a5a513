// Device names, as the printers of tc/ ask for them, out of the arena.

import type { Arena } from '../../memory/arena.ts'
import { netdevByIndex, netdevByName, netdevIfindex, netdevName } from '../../net/netdev.ts'
import type { Devices } from '../../tc/command.ts'

export const devicesOf = (a: Arena): Devices => ({
  indexOf: (name) => {
    const dev = netdevByName(a, name)
    return dev === 0 ? 0 : netdevIfindex(a, dev)
  },
  nameOf: (index) => {
    const dev = netdevByIndex(a, index)
    return dev === 0 ? `if${index}` : netdevName(a, dev)
  },
})
