// Events that the tracing build of the chip reports, and their operands (datapath/chip/trace.ts). Never stored.

/** (packet, device): a device received the packet: a port, or a tunnel device after decap. */
export const TRACE_DELIVER = 1
/** (packet, block, 1 at ingress): it meets the filters of a hook of PKT_DEV. */
export const TRACE_HOOK = 2
/** (packet, first mask, flow key, EtherType as PRIO_PROTO, flow or 0): one walk along masks. */
export const TRACE_LOOKUP = 3
/** (packet, flow, TC_ACT_* or more): the flow's actions ended. The packet may be gone. */
export const TRACE_VERDICT = 4
/** (packet, encap header): outer headers go on. */
export const TRACE_PUSH = 5
/** (0, DROP_*). */
export const TRACE_DROP = 6
/** (packet, device, EMIT_OUTPUT or PUNT_*, argument). */
export const TRACE_EMIT = 7
