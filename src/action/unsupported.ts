// What the language and the tables know but the datapath does not do yet: one list. An action in it is refused by name
// when it is made, so that nothing is accepted and ignored; when the datapath learns its op, its line here goes.

import { EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'

/** Names of the actions whose ops (memory/layout/program.ts) the datapath does not execute. */
export const UNSUPPORTED = new Set<string>()

/** Throws EOPNOTSUPP when the datapath cannot do `action`. Called last, when the kernel would have taken it. */
export function refuseOp(action: string): void {
  if (UNSUPPORTED.has(action)) throw new NetlinkError(EOPNOTSUPP, `flowerbed: action ${action} is not supported yet`)
}
