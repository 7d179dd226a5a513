// What some actions have besides the words of the instance: parameters too large for it, and state that packets change.
// Offsets are bytes. A block is made with its instance and freed after a grace period.

// ---- police: a token bucket (struct tcf_police and tcf_police_params). 64-bit fields are nanoseconds unless said.
/** Word of a spin lock: the buckets are shared by the workers. @atomic */
export const POLICE_LOCK = 0
/** POLICE_RATE, POLICE_PEAK, POLICE_PPS. @constant */
export const POLICE_FLAGS = 4
/** Largest packet that may conform. @constant */
export const POLICE_MTU = 8
/** What fits into the buckets: bytes, peak, packets. @constant */
export const POLICE_BURST = 16
export const POLICE_MTU_PTOKS = 24
export const POLICE_PKT_BURST = 32
/** What is in them now. Under POLICE_LOCK. */
export const POLICE_TOKS = 40
export const POLICE_PTOKS = 48
export const POLICE_PKTTOKS = 56
/** Time of the last packet that conformed. Under POLICE_LOCK. */
export const POLICE_T_C = 64
/** Time of a length: (len + overhead, in ATM cells if so) * mult >> shift. @constant */
export const POLICE_RATE_MULT = 72
export const POLICE_RATE_SHIFT = 76
export const POLICE_PEAK_MULT = 80
export const POLICE_PEAK_SHIFT = 84
/** Time of a packet: mult >> shift. @constant */
export const POLICE_PKT_MULT = 88
export const POLICE_PKT_SHIFT = 92
/** overhead | linklayer << 16 | mpu in the next word; of rate, then of peak. @constant */
export const POLICE_RATE_OVERHEAD = 96
export const POLICE_RATE_MPU = 100
export const POLICE_PEAK_OVERHEAD = 104
export const POLICE_PEAK_MPU = 108
/** Bytes a second, packets a second (64 bits), as given. @constant */
export const POLICE_RATE_BPS = 112
export const POLICE_PEAK_BPS = 120
export const POLICE_PPS_RATE = 128
/** Bytes a second above which all exceed, 0 without; and the estimator that says how many there are. @constant */
export const POLICE_AVRATE = 136
export const POLICE_EST = 140
export const POLICE_SIZE = 144

export const POLICE_RATE = 1
export const POLICE_PEAK = 2
export const POLICE_PPS = 4
export const POLICE_LINKLAYER_ATM = 2

// ---- rate estimator (struct net_rate_estimator). Who runs the timers alone writes it, but for the first three words.
/** Address of the next one while it waits for a timer. */
export const EST_NEXT = 0
/** The action, 0 when it is gone. @under action */
export const EST_ACT = 4
/** Logarithms: interval in quarters of a second, weight of an interval. @constant */
export const EST_INTERVAL_LOG = 8
export const EST_EWMA_LOG = 12
/** Bytes a second, no more than 32 bits: what packets ask for. @atomic */
export const EST_BPS = 16
/** Odd while the averages change. @atomic */
export const EST_SEQ = 20
/** Times 256: bytes and packets a second (64 bits). Under EST_SEQ. */
export const EST_AVBPS = 24
export const EST_AVPPS = 32
/** What was counted when the last interval ended (64 bits). */
export const EST_LAST_BYTES = 40
export const EST_LAST_PACKETS = 48
/** When the interval ends: milliseconds of the switch's clock (64 bits). */
export const EST_EXPIRES = 56
export const EST_SIZE = 64

// ---- ct: parameters (struct tcf_ct_params)
/** TCA_CT_ACT_* (u16), zone (u16). @constant */
export const CT_ACTION = 0
export const CT_ZONE = 2
export const CT_MARK = 4
export const CT_MARK_MASK = 8
/** CT_NAT_*. @constant */
export const CT_NAT_FLAGS = 12
/** be16 each. @constant */
export const CT_NAT_PORT_MIN = 16
export const CT_NAT_PORT_MAX = 18
export const CT_LABELS = 32
export const CT_LABELS_MASK = 48
/** 16 bytes, IPv4 in the first four. @constant */
export const CT_NAT_MIN = 64
export const CT_NAT_MAX = 80
export const CT_SIZE = 96

export const CT_NAT_IPV4 = 1
export const CT_NAT_IPV6 = 2
export const CT_NAT_PORTS = 4

// ---- gate: a schedule (struct tcf_gate_params)
export const GATE_COUNT = 0
/** -1: any. @constant */
export const GATE_PRIORITY = 4
export const GATE_CLOCKID = 8
export const GATE_FLAGS = 12
/** 64-bit nanoseconds. @constant */
export const GATE_BASE_TIME = 16
export const GATE_CYCLE_TIME = 24
export const GATE_CYCLE_TIME_EXT = 32
/** Word of a spin lock: the octets are shared by the workers. @atomic */
export const GATE_LOCK = 40
/** Octets that the entry in force has let through, and which one since the start it is, from 1 (64 bits). Under GATE_LOCK. */
export const GATE_OCTETS = 44
export const GATE_TURN = 48
/** When the first entry begins, by the switch's clock; how long all of them take. 64-bit nanoseconds. @constant */
export const GATE_START = 56
export const GATE_ROUND = 64
export const GATE_ENTRIES = 80
/** An entry: open (0, 1), interval (ns), ipv, max octets (-1: any). @constant */
export const GATE_ENTRY_OPEN = 0
export const GATE_ENTRY_INTERVAL = 4
export const GATE_ENTRY_IPV = 8
export const GATE_ENTRY_MAX_OCTETS = 12
export const GATE_ENTRY_SIZE = 16
