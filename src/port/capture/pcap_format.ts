// The classic capture format (pcap-savefile(5)), offsets in bytes. All fields have the byte order of the magic.
//
//   file header  magic u32 | major u16 | minor u16 | zone i32 | sigfigs u32 | snaplen u32 | link type u32
//   record       seconds u32 | fraction u32 | captured length u32 | original length u32 | the bytes

export const MAGIC_MICRO = 0xa1b2c3d4
export const MAGIC_NANO = 0xa1b23c4d

export const FILE_MAGIC = 0
export const FILE_MAJOR = 4
export const FILE_MINOR = 6
export const FILE_SNAPLEN = 16
export const FILE_LINKTYPE = 20
export const FILE_LEN = 24

export const RECORD_SECONDS = 0
export const RECORD_FRACTION = 4
export const RECORD_CAPLEN = 8
export const RECORD_ORIGLEN = 12
export const RECORD_LEN = 16

/** The link type proper in its field. */
export const LINKTYPE_MASK = 0x03ffffff
/** The frames end in a frame check sequence, of (field >>> 28) * 2 bytes. */
export const LINKTYPE_FCS = 0x04000000
