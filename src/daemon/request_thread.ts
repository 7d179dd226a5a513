// The part that the switch thread and the control workers have in common: datagrams come in by the post, are answered by
// this thread's control of the tables, and what that changes is told.
//
// Notifications and answers leave in the order in which they were made, in one message for everything that a batch of
// requests has brought; in the middle of a long batch, whenever FLUSH bytes have come together. An answer says which record of
// the journal must be safe before the client may have it.

import { beginReading, contextOf, endReading } from '../flow/context.ts'
import type { Arena } from '../memory/arena.ts'
import { reclaim } from '../memory/pool.ts'
import { Answering } from '../rtnl/answering.ts'
import type { Requester } from '../rtnl/datagram.ts'
import { store } from '../sync/atomic.ts'
import { postParent } from '../sync/thread.ts'
import { viewOf } from '../wire/netlink.ts'
import type { Journalled } from './journalled.ts'
import { Lent } from './lent.ts'
import { openNews } from './news.ts'
import * as P from './post.ts'
import type { CommonData, TableAnswer, TableQuestion } from './protocol.ts'
import { tables } from './tables/index.ts'
import { QueryError } from './tables/table.ts'

const FLUSH = 64 * 1024

export interface RequestThread {
  /** Answers a message of main's. */
  take(message: Uint8Array): void
  /** Posts what has come together. */
  flush(): void
}

/** `now`: ms of the switch's clock. With a `hand` the thread serves connections that are lent to it. */
export function openRequests(
  a: Arena,
  data: CommonData,
  now: () => number,
  requester: Requester,
  journal: Journalled,
  hand?: Int32Array,
): RequestThread {
  const encoder = new TextEncoder()
  const decoder = new TextDecoder()
  const table = (asked: Uint8Array): Uint8Array => {
    const { name, query } = JSON.parse(decoder.decode(asked)) as TableQuestion
    let said: TableAnswer
    const began = beginReading(a)
    try {
      said = { document: tables[name](contextOf(a), now(), query) }
    } catch (e) {
      if (!(e instanceof QueryError)) throw e
      said = { error: e.message }
    } finally {
      if (began) endReading(a)
    }
    return encoder.encode(JSON.stringify(said))
  }
  const post = new P.Post()
  const flush = (): void => {
    const message = post.take()
    if (message !== null) postParent(message)
  }
  const news = openNews(a, now, data.listening, (message) => {
    post.add(P.NEWS, answering.echoTo(message), 0, 0, message)
  })
  const attentive: Requester = {
    request(message) {
      news.attend()
      return journal.request(message, (m) => requester.request(m))
    },
  }
  const lent =
    hand === undefined
      ? undefined
      : new Lent({ requester: attentive, hand, listening: data.listening, post, flush, after: () => reclaim(a) })
  const answering: Answering = new Answering(attentive, {
    answer(session, datagram) {
      post.add(P.ANSWER, session, 0, journal.ticket, datagram)
      if (post.size > FLUSH) flush()
    },
    done: (session, number) => post.add(P.DONE, session, number, journal.ticket),
    paused: (session) => post.add(P.PAUSED, session, 0, journal.ticket),
  })
  return {
    flush,
    take(message) {
      P.readPost(message, (kind, session, number, port, payload) => {
        if (kind === P.ASK) {
          store(data.doing, 0, number)
          answering.ask(session, number, port, payload)
        } else if (kind === P.TABLE) post.add(P.TABLE, 0, number, 0, table(payload))
        else if (kind === P.MORE) answering.more(session)
        else if (kind === P.LEND) lent?.lend(session, number, port, viewOf(payload).getUint32(0, true))
        else if (kind === P.RECALL) lent?.recall(session)
        else if (!lent?.gone(session)) answering.gone(session)
      })
      flush()
    },
  }
}
