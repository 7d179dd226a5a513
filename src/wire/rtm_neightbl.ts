// RTM_{NEW,GET}NEIGHTBL: struct ndtmsg { u8 family; u8 pad; u16 pad; }, and of its attributes those that tell how a neighbour
// table treats the neighbours of a device (include/uapi/linux/neighbour.h).

/** Where the attributes begin. */
export const NDTMSG_ATTRS = 20
export const NDTMSG_LEN = 4

export const RTM_NEWNEIGHTBL = 64
export const RTM_GETNEIGHTBL = 66

/** Nested NDTPA_*. */
export const NDTA_PARMS = 6

/** u32, absent in the table's defaults. */
export const NDTPA_IFINDEX = 1
/** u64, milliseconds: delay_first_probe_time. */
export const NDTPA_DELAY_PROBE_TIME = 7
