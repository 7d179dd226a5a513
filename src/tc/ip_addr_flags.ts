// The flags of an address by name, as `ip addr` reads and prints them, in the order in which it prints them.

import {
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_HOMEADDRESS,
  IFA_F_MANAGETEMPADDR,
  IFA_F_MCAUTOJOIN,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_OPTIMISTIC,
  IFA_F_PERMANENT,
  IFA_F_SECONDARY,
  IFA_F_STABLE_PRIVACY,
  IFA_F_TENTATIVE,
} from '../wire/rtm_addr.ts'

export interface AddressFlag {
  readonly mask: number
  /** Cannot be set by a command. */
  readonly readonly: boolean
  readonly v6only: boolean
}

const flag = (mask: number, readonly: boolean, v6only: boolean): AddressFlag => ({ mask, readonly, v6only })

export const ADDRESS_FLAGS: Readonly<Record<string, AddressFlag>> = {
  secondary: flag(IFA_F_SECONDARY, true, false),
  temporary: flag(IFA_F_SECONDARY, true, false),
  nodad: flag(IFA_F_NODAD, false, true),
  optimistic: flag(IFA_F_OPTIMISTIC, false, true),
  dadfailed: flag(IFA_F_DADFAILED, true, true),
  home: flag(IFA_F_HOMEADDRESS, false, true),
  deprecated: flag(IFA_F_DEPRECATED, true, true),
  tentative: flag(IFA_F_TENTATIVE, true, true),
  permanent: flag(IFA_F_PERMANENT, true, true),
  mngtmpaddr: flag(IFA_F_MANAGETEMPADDR, false, true),
  noprefixroute: flag(IFA_F_NOPREFIXROUTE, false, false),
  autojoin: flag(IFA_F_MCAUTOJOIN, false, false),
  'stable-privacy': flag(IFA_F_STABLE_PRIVACY, true, true),
}
