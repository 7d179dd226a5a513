// What the chip tells a trace: each hook, lookup, verdict, header and end of a packet, as it happens.
//
// The chip is built twice. In dist/chip.wasm, which carries packets, TRACING is not defined and each of these calls
// compiles to nothing; dist/chip_trace.wasm, for `flowerbed trace` alone, imports `report` from whoever instantiates it.

import { TRACE_DELIVER, TRACE_DROP, TRACE_EMIT, TRACE_HOOK, TRACE_LOOKUP, TRACE_PUSH, TRACE_VERDICT } from '../../memory/layout/trace.ts'

// @ts-ignore: decorator
@external('env', 'trace')
declare function report(event: i32, pkt: usize, a: usize, b: usize, c: usize, d: usize): void

/** Is this the chip that tells? It takes no short cuts then, so that each packet has a key that can be shown. */
// @ts-ignore: decorator
@inline
export function isTracing(): bool {
  // @ts-ignore: defined by --use
  return isDefined(TRACING)
}

// @ts-ignore: decorator
@inline
export function traceDeliver(pkt: usize, dev: usize): void {
  if (isTracing()) report(TRACE_DELIVER, pkt, dev, 0, 0, 0)
}
// @ts-ignore: decorator
@inline
export function traceHook(pkt: usize, block: usize, ingress: bool): void {
  if (isTracing()) report(TRACE_HOOK, pkt, block, ingress ? 1 : 0, 0, 0)
}
// @ts-ignore: decorator
@inline
export function traceLookup(pkt: usize, mask: usize, key: usize, protocol: u32, flow: usize): void {
  if (isTracing()) report(TRACE_LOOKUP, pkt, mask, key, protocol, flow)
}
// @ts-ignore: decorator
@inline
export function traceVerdict(pkt: usize, flow: usize, verdict: i32): void {
  if (isTracing()) report(TRACE_VERDICT, pkt, flow, verdict, 0, 0)
}
// @ts-ignore: decorator
@inline
export function tracePush(pkt: usize, header: usize): void {
  if (isTracing()) report(TRACE_PUSH, pkt, header, 0, 0, 0)
}
// @ts-ignore: decorator
@inline
export function traceDrop(reason: i32): void {
  if (isTracing()) report(TRACE_DROP, 0, reason, 0, 0, 0)
}
// @ts-ignore: decorator
@inline
export function traceEmit(pkt: usize, dev: usize, kind: i32, arg: usize): void {
  if (isTracing()) report(TRACE_EMIT, pkt, dev, kind, arg, 0)
}
