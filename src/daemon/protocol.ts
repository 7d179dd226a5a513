// What the daemon's threads are started with, and what they say beside the post (post.ts).

import type { PortConfig } from './config.ts'
import type { PortLink } from './port_link.ts'

/** Every thread. */
export interface CommonData {
  /** The daemon's beginning (clock.ts). */
  readonly began: bigint
  /** Groups that somebody is in (listening.ts). */
  readonly listening: Int32Array
  /** Word 0: the number of the datagram that the thread has begun last. @atomic */
  readonly doing: Int32Array
}

export interface SwitchThreadData extends CommonData {
  readonly role: 'switch'
  readonly ports: readonly PortConfig[]
  readonly scripts: readonly string[]
  /** Datapath threads to come. */
  readonly workers: number
}

export interface ControlThreadData extends CommonData {
  readonly role: 'control'
  readonly memory: WebAssembly.Memory
}

/** The switch thread to main, when everything stands: others may work on the arena. */
export interface Ready {
  readonly ready: true
  readonly memory: WebAssembly.Memory
  readonly links: readonly PortLink[]
}

/** The switch thread to main: the start failed, for what the user wrote. */
export interface Failed {
  readonly failed: string
}

/** Any thread to main. */
export interface Said {
  readonly log: 'debug' | 'info' | 'warn' | 'error'
  readonly what: object
  readonly message: string
}

/** Ends a thread in order. */
export const END = null
