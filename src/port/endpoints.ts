// What of an uplink is the switch's: packets to its tunnel endpoints. Everything else is the kernel's, so that ARP, ND,
// routing protocols and everybody's SSH go on as if there were no switch.
//
// A packet is ours when it goes to one of our addresses, and to a UDP port on which a tunnel device is open, or is of a
// tunnel's own IP protocol. A fragment is the kernel's: only the first of a datagram could be known.

export interface DeviceFilter {
  /** UDP ports of tunnel devices. */
  readonly udp: readonly number[]
  /** IP protocols of tunnel devices: 47 GRE, 4 and 41 IP in IP. */
  readonly protocols: readonly number[]
  /** Our addresses: four or sixteen bytes. */
  readonly addresses: readonly Uint8Array[]
}

export const v4Of = (f: DeviceFilter): Uint8Array[] => f.addresses.filter((x) => x.length === 4)
export const v6Of = (f: DeviceFilter): Uint8Array[] => f.addresses.filter((x) => x.length === 16)

/** Do two filters say the same? */
export const sameFilter = (x: DeviceFilter, y: DeviceFilter): boolean => textOf(x) === textOf(y)

const textOf = (f: DeviceFilter): string => [f.udp, f.protocols, f.addresses.map((x) => x.join('.'))].join('|')
