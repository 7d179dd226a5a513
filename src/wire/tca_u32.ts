// u32: the content of TCA_OPTIONS of a filter that compares 32-bit words anywhere in the packet, and struct tc_u32_sel,
// tc_u32_key, tc_u32_mark, tc_u32_pcnt (include/uapi/linux/pkt_cls.h).
//
// A handle is three numbers, `htid:hash:node` with 12, 8 and 12 bits: a table, a bucket of it, and a node in the bucket.
// Words of keys, hmask and offmask are in wire order, everything else in host order.

export const TCA_U32_CLASSID = 1
export const TCA_U32_HASH = 2
export const TCA_U32_LINK = 3
export const TCA_U32_DIVISOR = 4
export const TCA_U32_SEL = 5
export const TCA_U32_POLICE = 6
export const TCA_U32_ACT = 7
export const TCA_U32_INDEV = 8
export const TCA_U32_PCNT = 9
export const TCA_U32_MARK = 10
export const TCA_U32_FLAGS = 11
export const TCA_U32_PAD = 12
export const TCA_U32_MAX = 12

// struct tc_u32_sel
export const SEL_FLAGS = 0
export const SEL_OFFSHIFT = 1
export const SEL_NKEYS = 2
/** be16 */
export const SEL_OFFMASK = 4
/** u16 */
export const SEL_OFF = 6
/** s16 */
export const SEL_OFFOFF = 8
/** s16 */
export const SEL_HOFF = 10
/** be32 */
export const SEL_HMASK = 12
export const SEL_KEYS = 16

// struct tc_u32_key
/** be32 */
export const SELKEY_MASK = 0
/** be32 */
export const SELKEY_VAL = 4
/** s32 */
export const SELKEY_OFF = 8
/** -1: the offset counts from the next header. */
export const SELKEY_OFFMASK = 12
export const SELKEY_SIZE = 16

export const TC_U32_TERMINAL = 1
export const TC_U32_OFFSET = 2
export const TC_U32_VAROFFSET = 4
export const TC_U32_EAT = 8

/** struct tc_u32_mark { u32 val, mask, success; } */
export const MARK_SIZE = 12

/** The root table of whatever prio it is asked of. */
export const TC_U32_ROOT = 0xfff00000

export const u32Htid = (handle: number): number => (handle & 0xfff00000) >>> 0
export const u32Hash = (handle: number): number => (handle >>> 12) & 0xff
export const u32Node = (handle: number): number => handle & 0xfff
/** Everything but the table: 0 for a table's own handle. */
export const u32Key = (handle: number): number => handle & 0x000fffff
