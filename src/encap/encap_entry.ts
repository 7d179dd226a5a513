// The encap entry (struct mlx5e_encap_entry): one tunnel key sent through one tunnel device, shared by all flows that
// have both, and its header while the next hop is known.
//
//   PENDING ──> VALID ⇄ NOT VALID(why) ──> … ──> unhashed ──> freed after a grace period
//
// Born inside attach, under encap_tbl, with the reference of its first flow: hashed, tied to its route entry, registered
// on its neigh hash entry, then the neighbour is read and the header built, then res_ready, all before the lock is
// dropped. So nobody ever waits for res_ready: who has the lock and sees it pending knows that the maker died.
// VALID <=> TEMPLATE is set. What packets see is ENCAP_HEADER: the template, or 0 while packets must go through the host.
// Fields and flags here; encap_put.ts is its end.

import type { Arena } from '../memory/arena.ts'
import { TUN_OPTS_LEN, TUN_SIZE } from '../memory/layout/action.ts'
import { ENCAP_CONTROL } from '../memory/layout/encap.ts'
import { LINK_SIZE } from '../memory/list.ts'
import * as Completion from '../sync/completion.ts'
import * as Refcount from '../sync/refcount.ts'

// The first 64 bytes are the datapath's: memory/layout/encap.ts.
/** One for each attached item, one for each pass of the event worker that looks at it. @atomic */
export const ENTRY_REFCNT = ENCAP_CONTROL
/** Hash of the key. @constant */
export const ENTRY_HASH = ENCAP_CONTROL + 4
/** First attached item, by ITEM_LINK. @under encap_tbl */
export const ENTRY_FLOWS = ENCAP_CONTROL + 8
/** ENTRY_F_*. @under encap_tbl */
export const ENTRY_FLAGS = ENCAP_CONTROL + 12
/** SLOW_*: why ENCAP_HEADER is 0. @under encap_tbl */
export const ENTRY_WHY = ENCAP_CONTROL + 16
/** pkt_reformat: the header made for MAC, 0 while not VALID. @under encap_tbl */
export const ENTRY_TEMPLATE = ENCAP_CONTROL + 20
/** Its neigh hash entry, 0 while it has no next hop on a port. @under encap_tbl */
export const ENTRY_NHE = ENCAP_CONTROL + 24
/** Membership in NHE_ENCAPS. @under encap_list */
export const ENTRY_NHE_LINK = ENCAP_CONTROL + 28
/** Its route entry, 0 while the key cannot be sent at all. @under encap_tbl */
export const ENTRY_ROUTE = ENCAP_CONTROL + 36
/** Membership in ROUTE_ENTRY_ENCAPS. @under encap_tbl */
export const ENTRY_ROUTE_LINK = ENCAP_CONTROL + 40
/** Completion res_ready, 1 from the end of its making on. Still 0 under encap_tbl: its maker died; nobody uses it. @atomic */
export const ENTRY_RES_READY = ENCAP_CONTROL + 48
/** Membership in ROOT_ENTRIES. @under encap_tbl */
export const ENTRY_LINK = ENCAP_CONTROL + 52
/** MAC in TEMPLATE (h_dest), six bytes. @under encap_tbl */
export const ENTRY_MAC = ENCAP_CONTROL + 60
/** Port that TEMPLATE leaves by (address). @under encap_tbl */
export const ENTRY_OUT_DEV = ENCAP_CONTROL + 68
/** Items attached. @under encap_tbl */
export const ENTRY_ITEMS = ENCAP_CONTROL + 72
/** Number for people. @constant */
export const ENTRY_ID = ENCAP_CONTROL + 76
/** ROOT_DEV_GENERATION and ROUTE_ENTRY_VERSION that it was settled with: equal ones need no second look. @under encap_tbl */
export const ENTRY_DEV_GENERATION = ENCAP_CONTROL + 80
export const ENTRY_ROUTE_VERSION = ENCAP_CONTROL + 84
/** When VALID, HEADER or WHY last changed, milliseconds. @under encap_tbl */
export const ENTRY_CHANGED = ENCAP_CONTROL + 88

/** ENCAP_ENTRY_VALID. */
export const ENTRY_F_VALID = 1
/** In the encap table: flows with the same key find it. */
export const ENTRY_F_HASHED = 2
/** Belongs to a classic tunnel device (NETDEV_ENCAP), in no table, its key is the device's. */
export const ENTRY_F_DEVICE = 4

/** An item ties one encap destination of a flow to its entry (struct encap_flow_item). */
export const ITEM_ENTRY = 0
/** Membership in ENTRY_FLOWS. @under encap_tbl */
export const ITEM_LINK = 4
/** The flow. @constant */
export const ITEM_FLOW = ITEM_LINK + LINK_SIZE
/** ITEM_F_*. @under encap_tbl */
export const ITEM_FLAGS = ITEM_FLOW + 4
/** `self` of the thread that attached it: who waits for its flow's init_done asks whether that one still lives. @constant */
export const ITEM_OWNER = ITEM_FLAGS + 4
export const ITEM_SIZE = 32
/** MLX5_ESW_DEST_ENCAP_VALID: the entry was VALID when the flow was last looked at. */
export const ITEM_F_VALID = 1

export const isReady = (a: Arena, e: number): boolean => Completion.result(a.m, (e + ENTRY_RES_READY) >> 2) === 1

export const isValid = (a: Arena, e: number): boolean => (a.m[(e + ENTRY_FLAGS) >> 2] & ENTRY_F_VALID) !== 0

/** For who found it and holds nothing: false when the last holder is gone. */
export const encapTake = (a: Arena, e: number): boolean => Refcount.take(a.m, (e + ENTRY_REFCNT) >> 2)

/** Bytes of a tun_info with its options. */
export const tunSize = (a: Arena, tun: number): number => TUN_SIZE + ((a.u8[tun + TUN_OPTS_LEN] + 3) & ~3)
