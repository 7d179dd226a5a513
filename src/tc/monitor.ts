// `tc monitor` (tc_monitor.c): prints what RTNLGRP_TC tells, message by message.

import { msgType, viewOf } from '../wire/netlink.ts'
import { RTM_DELACTION, RTM_GETACTION, RTM_NEWACTION } from '../wire/tca_action.ts'
import { RTM_DELCHAIN, RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWCHAIN, RTM_NEWQDISC, RTM_NEWTFILTER } from '../wire/tcm.ts'
import { printActions } from './actions.ts'
import type { Command, ParseContext } from './command.ts'
import { EVERY_FILTER, printFilter } from './filter_print.ts'
import type { Printer } from './printer.ts'
import { EVERY_QDISC, printQdisc } from './qdisc.ts'
import { NOTHING, usage } from './usage.ts'

/** Parses behind `tc monitor`. */
export function parseMonitor(c: ParseContext): Command {
  const { args, options } = c
  if (args.matches('help')) return usage('tc', options, 'tc [ -timestamp ] monitor')
  if (args.more) throw args.fail(`Argument "${args.word}" is unknown, try "tc monitor help".`, 255)
  return {
    ...NOTHING,
    program: 'tc',
    options,
    monitor: true,
    show: (replies, out) => {
      for (const m of replies) printNews(m, out)
    },
  }
}

/** Prints one notification as `tc monitor` does; messages of other families print nothing. */
export function printNews(m: Uint8Array, out: Printer): void {
  switch (msgType(viewOf(m))) {
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
    case RTM_NEWCHAIN:
    case RTM_DELCHAIN:
      printFilter(m, out, EVERY_FILTER)
      break
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      printQdisc(m, out, EVERY_QDISC)
      break
    case RTM_NEWACTION:
    case RTM_DELACTION:
    case RTM_GETACTION:
      printActions(m, out)
      break
  }
}
