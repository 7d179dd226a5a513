// The pcapng format (draft-ietf-opsawg-pcapng), offsets in bytes. A file is a row of blocks; a section header
// says the byte order of all blocks up to the next one.
//
//   block   type u32 | total length u32 | body, padded to 4 bytes | total length u32

export const BLOCK_TYPE = 0
export const BLOCK_LENGTH = 4
export const BLOCK_BODY = 8
/** Type, length, and the length again. */
export const BLOCK_MIN = 12

export const BT_SHB = 0x0a0d0d0a
export const BT_IDB = 1
/** Packet block, obsolete. */
export const BT_PB = 2
export const BT_SPB = 3
export const BT_EPB = 6

// Section header: byte-order magic u32 | major u16 | minor u16 | section length u64 | options
export const SHB_MAGIC = 8
export const SHB_MAJOR = 12
export const SHB_MINOR = 14
export const SHB_SECTION = 16
export const SHB_MIN = 28
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d

// Interface description: link type u16 | reserved u16 | snaplen u32 | options
export const IDB_LINKTYPE = 8
export const IDB_SNAPLEN = 12
export const IDB_OPTIONS = 16
export const IDB_MIN = 20
export const OPT_END = 0
export const OPT_IF_NAME = 2
export const OPT_IF_TSRESOL = 9
export const OPT_IF_FCSLEN = 13
export const OPT_IF_TSOFFSET = 14

// Enhanced packet: interface u32 | time high u32 | time low u32 | captured length u32 | original length u32 |
// the bytes, padded | options. The obsolete packet block has a u16 interface and a drop count in its place.
export const EPB_INTERFACE = 8
export const EPB_TIME_HIGH = 12
export const EPB_TIME_LOW = 16
export const EPB_CAPLEN = 20
export const EPB_ORIGLEN = 24
export const EPB_DATA = 28
export const EPB_MIN = 32

// Simple packet: original length u32 | the bytes, padded. Of interface 0, without a time.
export const SPB_ORIGLEN = 8
export const SPB_DATA = 12
export const SPB_MIN = 16

/** Bytes up to the next multiple of four. */
export function padded(n: number): number {
  return (n + 3) & ~3
}
