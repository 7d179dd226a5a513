// Where a port's output is recorded: a buffer in the arena that takes records of a classic capture, and what went in.
// One for each port, in the order of the ports. Written by the thread that drives the switch, and its chip. Offsets in bytes.

/** Address of the next record, and the end of the buffer. */
export const RECORD_END = 0
export const RECORD_LIMIT = 4
/** Frames that the chip has recorded, and their bytes (u64 each). */
export const RECORD_PACKETS = 8
export const RECORD_BYTES = 16
export const RECORD_SIZE = 32

// How the chip reads records of a classic capture that lies in the arena: what the file's header says, and how far it came.
// After it, rows of SCAN_ROWS frames: offsets (u32), lengths (u32), times (f64, nanoseconds since the epoch).

/** Address of the next record, and the end of what has been read of the file. */
export const SCAN_AT = 0
export const SCAN_END = 4
/** Nanoseconds of a unit of time; other than 0 when the file's byte order is the other one; bytes at a frame's end that are none of it. */
export const SCAN_UNIT = 8
export const SCAN_SWAPPED = 12
export const SCAN_FCS = 16
/** The second that times count from. */
export const SCAN_EPOCH = 20
/** Frames of the last scan that the file holds only the beginning of. */
export const SCAN_CUT = 24
/** No frame is longer. */
export const SCAN_LONGEST = 28
/** The address that offsets count from. */
export const SCAN_WINDOW = 32
export const SCAN_OFFSET = 64
export const SCAN_ROWS = 1024
export const SCAN_LENGTH = SCAN_OFFSET + SCAN_ROWS * 4
export const SCAN_TIME = SCAN_LENGTH + SCAN_ROWS * 4
export const SCAN_SIZE = SCAN_TIME + SCAN_ROWS * 8
