// The command: options in, one call into a program, exit status out.
//
//   0  done            1  the work ran, and its input was damaged on the way, or a check failed
//   2  bad input or usage, nothing done          3  the system refused
//
// The only file that knows the option parser. Errors go to stderr, one line first: what, where, why.
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { DEFAULT_HTTP_SOCKET } from '../daemon/http_socket.ts'
import { DEFAULT_SOCKET } from '../rtnl/frame.ts'
import { bench } from './bench.ts'
import { convert } from './convert.ts'
import { exitStatus, report } from './errors.ts'
import { replay } from './replay.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

/** An option's number, within bounds. */
function count(min: number, max: number) {
  return (text: string): number => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < min || n > max)
      throw new InvalidArgumentError(`Expected a number from ${min} to ${max}.`)
    return n
  }
}

const program = new Command('flowerbed')
  .description('A userspace software switch that runs tc flower rules, with tunnel encap and decap.')
  .version(version)
  .helpCommand(false)
  .enablePositionalOptions()
  .showHelpAfterError('(--help says how)')
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`flowerbed: ${text.replace(/^error: /, '')}`) })

program
  .command('replay')
  .description('Run a scenario offline: captures go through tc rules, what each port sent comes out.')
  .argument('[scenario]', 'folder with setup.tc, rules.tc and in-<port>.pcap')
  .option('--rules <file...>', 'rule files, instead of a scenario folder')
  .option('--in <port=pcap...>', 'captures that ports receive, with --rules')
  .option('--out <dir>', 'write out-<port>.pcap, filters.json, summary.json and log.txt there')
  .option('--json', 'print the summary as one JSON document')
  .option('--workers <n>', 'datapath workers; more than one run as threads', count(1, 16), 1)
  .option('--events <file>', 'write what happened to rules, encaps and neighbours there; as JSON when it ends in .json')
  .addOption(new Option('--pcap-backend <name>', 'read captures through another package').choices(['pcap-parser']))
  .addOption(
    new Option('--profile <name>', 'say of each rule whether such a NIC would offload it (in_hw, not_in_hw)').choices([
      'mlx5',
    ]),
  )
  .option('--control-workers <n>', 'threads that parse and insert long batches of tc lines', count(1, 16))
  .option('--pace', 'wait for the wall clock between packets')
  .addHelpText(
    'after',
    `
A scenario is a plain iproute2 script and captures:
  setup.tc           ip and tc lines that make the world; "# ports: 4" says which ports exist (p0 … p3)
  rules.tc           tc lines; a line may begin with @1.5s, @+200ms or @packet 100
  in-<port>.pcap     what a port receives (pcap or pcapng)

Example: flowerbed replay fixtures/first --out /tmp/result`,
  )
  .action((scenario, options) => finish(replay(scenario, options)))

program
  .command('trace')
  .description('Run a scenario and say, packet by packet, what it matched, what not and by which field, where it went.')
  .argument('[scenario]', 'folder with setup.tc, rules.tc and in-<port>.pcap')
  .option('--rules <file...>', 'rule files, instead of a scenario folder')
  .option('--in <port=pcap...>', 'captures that ports receive, with --rules')
  .option('--packet <n>', 'only the nth packet, from 1', count(1, 1e9))
  .option('--json', 'print one JSON document')
  .action(async (scenario, options) => finish((await import('./trace.ts')).trace(scenario, options)))

program
  .command('bench')
  .description('Measure: packets (memory to memory, or file to file), rules, and rules while neighbours change.')
  .argument(
    '[suite]',
    'encap, decap, lookup, actions, pcap, rules, storm, peers or live; or compare, with two documents of --json',
    'encap',
  )
  .argument('[files...]', 'for compare: A and B')
  .option('--json', 'print the results as one JSON document')
  .option('--size <bytes...>', 'frame sizes, or imix')
  .option('--flows <n...>', 'numbers of flows')
  .option('--masks <n...>', 'numbers of masks')
  .option('--runs <n>', 'runs of each case; the median counts', count(1, 99))
  .option('--ms <n>', 'milliseconds of each run', count(10, 60_000))
  .option('--packets <n>', 'packets of the capture, for pcap', count(1000, 100_000_000))
  .option('--profile <names...>', 'for rules: l2, 5-tuple, encap, encap-200, multi-encap')
  .option('--workers <n...>', 'for encap: numbers of datapath workers; for rules: of control workers')
  .option('--rules <n>', 'for rules and storm: how many', count(100, 2_000_000))
  .option('--html <file>', 'write the results there as a page with plots, too')
  .option('--scripts <dir>', 'for peers: the scripts that measure them', '../shared/bench')
  .action((suite, files, options) => finish(bench(suite, files, options)))

program
  .command('convert')
  .description(
    'Convert a capture between pcap and pcapng, or a journal between pcap and text, by the name of the target.',
  )
  .argument('<from>', 'a capture, a journal, or the text of one (.txt)')
  .argument('<to>', 'a .pcap or .pcapng file to write, or .txt for the text of a journal')
  .action((from, to) => finish(convert(from, to)))

program
  .command('run')
  .description('Run the daemon: a switch that tc and ip manage, until SIGTERM.')
  .option('--config <file>', 'configuration (default: /etc/flowerbed.yaml, if it is there)')
  .option('--socket <path>', `where to listen for rtnetlink (default: ${DEFAULT_SOCKET})`)
  .option('--http <path>', 'where to listen for HTTP (default: http.sock beside the other socket)')
  .option('--workers <n>', 'datapath threads (default: 1)', count(1, 16))
  .option('--control-workers <n>', 'threads that do requests (default: one less than there are cores)', count(1, 32))
  .option('--busy-poll', 'datapath threads never sleep: the least delay, and a core each')
  .addHelpText(
    'after',
    `
Example of a configuration:
  ports:
    - name: p0
    - { name: p1, mtu: 9000, mac: 02:00:00:00:00:07 }
  scripts: [setup.tc, rules.tc]`,
  )
  .action(async (options) => finish((await import('./run.ts')).run(options)))

program
  .command('doctor')
  .description('Check kernel, capabilities, MTUs and offloads for what the configuration asks, and say what to do.')
  .option('--config <file>', 'configuration (default: /etc/flowerbed.yaml, if it is there)')
  .option('--fix', 'mend what can be mended')
  .option('--json', 'print one JSON document')
  .action(async (options) => {
    process.exitCode = (await import('./doctor.ts')).doctor(options)
  })

program
  .command('shell')
  .description('Run a command, or a shell, in which the unmodified tc and ip programs speak to the daemon.')
  .argument('[command...]', 'a command and its words')
  .option('--socket <path>', 'socket of the daemon', DEFAULT_SOCKET)
  .passThroughOptions()
  .action(async (command, options) => finish((await import('./shell.ts')).shell(command, options.socket)))

for (const name of ['tc', 'ip'] as const)
  program
    .command(name)
    .description(`Manage the daemon with the grammar, the output and the exit statuses of ${name}.`)
    .argument('[words...]', `what you would say to ${name}`)
    .option('--socket <path>', 'socket of the daemon', DEFAULT_SOCKET)
    .helpOption('--help')
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words, options) => finish((await import('./tc.ts')).tc(name, words, options.socket)))

/** The commands that show the daemon's tables. */
for (const [group, name, description] of [
  ['flow', 'flowShow', 'Show every rule: its path and why, and its counters.'],
  ['encap', 'encapShow', 'Show the encap entries: the route, the next hop and its state.'],
  ['neigh', 'neighShow', 'Show the neighbours, and how many tunnel destinations need each.'],
  ['conntrack', 'conntrackShow', 'Show the connections that are tracked, as conntrack -L does.'],
  ['port', 'portShow', 'Show the ports and what went through them.'],
] as const) {
  const parent = program.command(group).description(group === 'port' ? 'The ports of a daemon.' : description)
  const show = parent
    .command('show')
    .description(description)
    .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
    .option('--json', 'print one JSON document')
    .action(async (options) => finish((await import('./show.ts'))[name](options)))
  if (group === 'conntrack') show.option('--limit <n>', 'at most so many', count(1, 100_000))
  if (group === 'port') {
    parent
      .command('add')
      .description('Add a port to a daemon, for as long as it runs.')
      .argument('<name>', 'the name of the port')
      .argument(
        '[options...]',
        'options and their values, as in the configuration: driver af_xdp device eth2 role uplink',
      )
      .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
      .action(async (name, words, options) => finish((await import('./port.ts')).portAdd(options.http, name, words)))
    parent
      .command('del')
      .description('Take a port away from a daemon, with its rules.')
      .argument('<name>', 'the name of the port')
      .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
      .action(async (name, options) => finish((await import('./port.ts')).portDel(options.http, name)))
  }
  if (group === 'flow')
    show
      .option('--why', 'say what stands behind each: route, next hop, encap entry, and the rule that shadows it')
      .option('--dev <name>', 'only rules of this device')
      .option('--limit <n>', 'at most so many', count(1, 1e9))
}

program
  .command('drops')
  .description('Show the packets that ended without being sent, by reason.')
  .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
  .option('--json', 'print one JSON document')
  .action(async (options) => finish((await import('./show.ts')).drops(options)))

program
  .command('events')
  .description('Follow the trace points and the changes of state of rules, neighbours and encaps, live.')
  .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
  .option('--json', 'print a JSON document a line')
  .action(async (options) => finish((await import('./show.ts')).events(options)))

program
  .command('top')
  .description('A live view in the terminal: ports, hot rules, encaps, drops.')
  .option('--http <path>', 'HTTP socket of the daemon', DEFAULT_HTTP_SOCKET)
  .option('--interval <seconds>', 'time between two views', count(1, 3600), 2)
  .option('--count <n>', 'end after so many views', count(1, 1e9))
  .action(async (options) => finish((await import('./show.ts')).top(options)))

async function finish(work: Promise<number>): Promise<void> {
  process.exitCode = await work
}

// A reader that has seen enough (head, a pager) is no error.
process.stdout.on('error', (e: NodeJS.ErrnoException) => {
  if (e.code === 'EPIPE') process.exit(process.exitCode)
  throw e
})

try {
  await program.parseAsync()
} catch (e) {
  // Commander has printed already: help and version are no errors, everything else is bad usage.
  if (e instanceof CommanderError) process.exitCode = e.exitCode === 0 ? 0 : 2
  else {
    report(e)
    process.exitCode = exitStatus(e)
  }
}
