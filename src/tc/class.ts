// `tc class …` (tc_class.c): add, change, replace, delete, show. No qdisc of the switch has classes, so a listing is empty
// and every change is refused: what can be said of a class without its qdisc's own words is read and sent all the same.

import { NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST } from '../wire/netlink.ts'
import { RTM_DELTCLASS, RTM_GETTCLASS, RTM_NEWTCLASS, TC_H_ROOT, tcmsg } from '../wire/tcm.ts'
import { isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { parseClassid, parseQdiscHandle } from './handle_text.ts'
import { LanguageError } from './language_error.ts'
import { usage } from './usage.ts'

const HELP =
  'tc class { add | change | replace | delete | show } dev DEV [ classid ID ] [ root | parent ID ] [ KIND [ OPTIONS ] ]'

/** Parses behind `tc class`. */
export function parseClass(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return show(c)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWTCLASS, NLM_F_EXCL | NLM_F_CREATE)
  if (isPrefix(word, 'change')) return modify(c, RTM_NEWTCLASS, 0)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWTCLASS, NLM_F_CREATE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELTCLASS, 0)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return show(c)
  if (isPrefix(word, 'help')) return usage('tc', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "tc class help".`, 255, word)
}

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  let [dev, kind, handle, parent] = ['', '', 0, 0]
  for (; args.more; args.skip()) {
    if (args.is('dev')) {
      args.next()
      if (dev) throw args.duparg('dev')
      dev = args.word.slice(0, 15)
    } else if (args.is('classid')) {
      args.next()
      if (handle) throw args.duparg('classid')
      handle = parseClassid(args.word)
      if (handle < 0) throw args.invarg('invalid class ID')
    } else if (args.is('handle')) throw args.fail('Error: try "classid" instead of "handle"', 255)
    else if (args.is('root')) {
      if (parent) throw args.fail('Error: "root" is duplicate parent ID.', 255)
      parent = TC_H_ROOT
    } else if (args.is('parent')) {
      args.next()
      if (parent) throw args.duparg('parent')
      parent = parseClassid(args.word)
      if (parent < 0) throw args.invarg('invalid parent ID')
    } else if (args.matches('estimator')) throw args.fail('"estimator" is not supported', 255)
    else if (args.matches('help')) return usage('tc', options, HELP)
    else {
      kind = args.word.slice(0, 15)
      args.skip()
      break
    }
  }
  if (kind === 'clsact' || kind === 'ingress') throw args.fail(`Error: Qdisc "${kind}" is classless.`, 1, kind)
  if (kind) throw args.fail(`Class "${kind}" is not supported`, 1, kind)
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  tcmsg(b, dev ? args.device(dev) : 0, handle, parent, 0)
  return { program: 'tc', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
}

function show(c: ParseContext): Command {
  const { args, b, options } = c
  let [dev, qdisc, classid, parent] = ['', 0, 0, 0]
  for (; args.more; args.skip()) {
    if (args.is('dev')) {
      args.next()
      if (dev) throw args.duparg('dev')
      dev = args.word.slice(0, 15)
    } else if (args.is('qdisc')) {
      args.next()
      if (qdisc) throw args.duparg('qdisc')
      qdisc = parseQdiscHandle(args.word)
      if (qdisc < 0) throw args.invarg('invalid qdisc ID')
    } else if (args.is('classid')) {
      args.next()
      if (classid) throw args.duparg('classid')
      classid = parseClassid(args.word)
      if (classid < 0) throw args.invarg('invalid class ID')
    } else if (args.is('root')) {
      if (parent) throw args.fail('Error: "root" is duplicate parent ID', 255)
      parent = TC_H_ROOT
    } else if (args.is('parent')) {
      if (parent) throw args.duparg('parent')
      parent = parseClassid(args.next())
      if (parent < 0) throw args.invarg('invalid parent ID')
    } else if (args.matches('help')) return usage('tc', options, HELP)
    else throw args.fail(`What is "${args.word}"? Try "tc class help".`, 255)
  }
  b.begin(RTM_GETTCLASS, NLM_F_REQUEST | NLM_F_DUMP)
  tcmsg(b, dev ? args.device(dev) : 0, 0, parent, 0)
  // A listing of classes is printed one by one, and there is none.
  return { program: 'tc', options, requests: [b.end()], onRefusal: { line: 'Dump terminated', exitCode: 1 } }
}
