// Where a port's output is recorded: a buffer in the arena that takes records of a classic capture, and what went in.
// One for each port, in the order of the ports. Written by the thread that drives the switch, and its chip. Offsets in bytes.

/** Address of the next record, and the end of the buffer. */
export const RECORD_END = 0
export const RECORD_LIMIT = 4
/** Frames that the chip has recorded, and their bytes (u64 each). */
export const RECORD_PACKETS = 8
export const RECORD_BYTES = 16
export const RECORD_SIZE = 32
