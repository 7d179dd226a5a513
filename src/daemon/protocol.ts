// What the daemon's threads are started with, and what they say beside the post (post.ts).

import type { PortConfig } from './config.ts'
import type { Seat } from './datapath_protocol.ts'
import type { JournalData } from './journalled.ts'
import type { MirrorData } from './kernel_mirror.ts'
import type { Query } from './tables/table.ts'

/** Every thread. */
export interface CommonData {
  /** The daemon's beginning (clock.ts). */
  readonly began: bigint
  /** Groups that somebody is in (listening.ts). */
  readonly listening: Int32Array
  /** Word 0: the number of the datagram that the thread has begun last. @atomic */
  readonly doing: Int32Array
  /** Where changes are written down before they are made; undefined: nowhere. */
  readonly journal: JournalData | undefined
}

export interface SwitchThreadData extends CommonData {
  readonly role: 'switch'
  readonly ports: readonly PortConfig[]
  readonly scripts: readonly string[]
  readonly profile?: 'mlx5'
  /** Datapath threads that main will start, 0 without live ports. */
  readonly workers: number
}

export interface ControlThreadData extends CommonData {
  readonly role: 'control'
  readonly memory: WebAssembly.Memory
  /** What it has in hand of connections that are lent to it (lent.ts). */
  readonly hand: Int32Array
}

export interface NotifierThreadData extends MirrorData {
  readonly role: 'notifier'
  readonly memory: WebAssembly.Memory
  readonly began: bigint
  readonly listening: Int32Array
  readonly journal: JournalData | undefined
  /** The notifier before this one died, perhaps between a device and the snapshot that was to have it. */
  readonly again: boolean
}

/** Main to the notifier: other uplinks are mirrored from now on, by the kernel's name of each. */
export interface Uplinks {
  readonly uplinks: readonly (readonly [device: string, port: string])[]
}

/** The notifier to main: it has read everything, of so many devices, and follows. */
export interface Followed {
  readonly followed: number
}

/** The switch thread to main, when everything stands: others may work on the arena. */
export interface Ready {
  readonly ready: true
  readonly memory: WebAssembly.Memory
  /** Of the datapath threads, which main starts. */
  readonly seats: readonly Seat[]
}

/** The switch thread to main: the start failed, for what the user wrote, or for a port that cannot be had. */
export interface Failed {
  readonly failed: string
  readonly port?: string
  /** It was the journal that is damaged, or cannot be written. */
  readonly journal?: boolean
}

/** Main to the switch thread: the thread of a datapath worker died. */
export interface Died {
  readonly died: number
}

/** The switch thread to main: another thread may take the seat of that worker. */
export interface Vacant {
  readonly vacant: number
}

/** Main to the switch thread: port `number` comes, or (null) goes. */
export interface PortChange {
  readonly change: number
  readonly number: number
  readonly port: PortConfig | null
}

/** The switch thread to main: change `changed` is made, or why it is not; `system`: the system refused. */
export interface PortChanged {
  readonly changed: number
  readonly error?: string
  readonly system?: boolean
}

/** A control worker to main, when it can take requests. */
export interface Up {
  readonly up: true
}

/** Any thread to main. */
export interface Said {
  readonly log: 'debug' | 'info' | 'warn' | 'error'
  readonly what: object
  readonly message: string
}

export interface TableQuestion {
  readonly name: string
  readonly query: Query
}

export type TableAnswer = { readonly document: unknown } | { readonly error: string }

/** Ends a thread in order. */
export const END = null
