// Types of the npm package pcap-parser 0.2.1, which has none: what port/capture/pcap_parser.ts uses of it.
declare module 'pcap-parser' {
  export interface Packet {
    readonly header: {
      readonly timestampSeconds: number
      readonly timestampMicroseconds: number
      readonly capturedLength: number
      readonly originalLength: number
    }
    readonly data: Uint8Array
  }
  interface Parser {
    on(event: 'globalHeader', listener: (h: { readonly linkLayerType: number }) => void): this
    on(event: 'packetHeader', listener: (h: Packet['header']) => void): this
    on(event: 'packet', listener: (p: Packet) => void): this
    on(event: 'error', listener: (e: Error) => void): this
  }
  const pcapParser: { parse(stream: NodeJS.ReadableStream): Parser }
  export default pcapParser
}
