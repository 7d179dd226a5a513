// Tags: what an allocation is for, counted for the leak report. New ones go to the end of the list.

const names = [
  'untagged',
  'flow',
  'mask',
  'table',
  'program',
  'block',
  'chain',
  'prio',
  'action',
  'tun_info',
  'encap',
  'encap_header',
  'nhe',
  'neigh',
  'fib',
  'addr',
  'key',
  'cookie',
  'user',
  'list',
  'work',
  'hash',
  'trace',
  'counter',
  'template',
  'route',
  'conntrack',
  'fragment',
  'police',
  'params',
  'ring',
  'local',
  'completion',
  'estimator',
] as const

export const tagNames: readonly string[] = names

const tag = (name: (typeof names)[number]): number => names.indexOf(name)

export const TAG_NONE = 0
export const TAG_FLOW = tag('flow')
export const TAG_MASK = tag('mask')
export const TAG_TABLE = tag('table')
export const TAG_PROGRAM = tag('program')
export const TAG_BLOCK = tag('block')
export const TAG_CHAIN = tag('chain')
export const TAG_PRIO = tag('prio')
export const TAG_ACTION = tag('action')
export const TAG_TUN_INFO = tag('tun_info')
export const TAG_ENCAP = tag('encap')
export const TAG_HEADER = tag('encap_header')
export const TAG_NHE = tag('nhe')
export const TAG_NEIGH = tag('neigh')
export const TAG_FIB = tag('fib')
export const TAG_ADDR = tag('addr')
export const TAG_KEY = tag('key')
export const TAG_COOKIE = tag('cookie')
export const TAG_USER = tag('user')
export const TAG_LIST = tag('list')
export const TAG_WORK = tag('work')
export const TAG_HASH = tag('hash')
export const TAG_TRACE = tag('trace')
export const TAG_COUNTER = tag('counter')
export const TAG_TEMPLATE = tag('template')
export const TAG_ROUTE = tag('route')
export const TAG_CONNTRACK = tag('conntrack')
export const TAG_FRAGMENT = tag('fragment')
export const TAG_POLICE = tag('police')
export const TAG_PARAMS = tag('params')
export const TAG_RING = tag('ring')
export const TAG_LOCAL = tag('local')
export const TAG_COMPLETION = tag('completion')
export const TAG_ESTIMATOR = tag('estimator')
