// Owns the command line: which commands there are, what they share, and how any of them ends.
import type { Client } from '@conveyor/client';
import { type Environment, createNodeClient, serverAddress } from '@conveyor/client/node';
import { Command } from 'commander';
import type { Cli, Surroundings } from './cli.ts';
import { addApply } from './commands/apply.ts';
import { addCancel } from './commands/cancel.ts';
import { addDelete } from './commands/delete.ts';
import { addDescribe } from './commands/describe.ts';
import { addDiff } from './commands/diff.ts';
import { addDrain } from './commands/drain.ts';
import { addExplain } from './commands/explain.ts';
import { addGate } from './commands/gate.ts';
import { addGet } from './commands/get.ts';
import { addGraph } from './commands/graph.ts';
import { addHold, addRelease } from './commands/hold.ts';
import { addLogs } from './commands/logs.ts';
import { addPause, addResume } from './commands/pause.ts';
import { addPlan } from './commands/plan.ts';
import { addQueue } from './commands/queue.ts';
import { addRerun } from './commands/rerun.ts';
import { addRetry } from './commands/retry.ts';
import { addRun } from './commands/run.ts';
import { addSchedule } from './commands/schedule.ts';
import { addSchema } from './commands/schema.ts';
import { addUp } from './commands/up.ts';
import { addValidate } from './commands/validate.ts';
import { addValue } from './commands/value.ts';
import { addVerify } from './commands/verify.ts';
import { addVersion } from './commands/version.ts';
import { addWatch } from './commands/watch.ts';
import { UsageError, describeFailure, exitCodes } from './failure.ts';
import { createTerminal } from './terminal.ts';

/** Runs the command with arguments as of a shell, without `node` and the script. Returns its exit code. */
export async function runCommand(args: readonly string[], surroundings: Surroundings = process): Promise<number> {
  const { env, stdin, stdout, stderr } = surroundings;
  const terminal = createTerminal(stdout, stderr, env);
  const program = new Command('conveyor');
  const address = () => program.opts<{ address?: string }>().address ?? serverAddress(env);
  let client: Client | undefined;
  let exitCode: number = exitCodes.succeeded;
  const cli: Cli = {
    env,
    stdin,
    terminal,
    address,
    client: () => (client ??= openClient(address(), env)),
    exitWith(code) {
      exitCode = code;
    },
  };
  program
    .description('Runs pipelines on drivers of your own.')
    .option(
      '--address <address>',
      'the server: HOST:PORT, grpcs://HOST:PORT or an http(s) URL (default: CONVEYOR_ADDRESS, or 127.0.0.1:7070)',
    )
    .addHelpText('after', overview)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => terminal.note(text.trimEnd()),
    })
    .showHelpAfterError('(see `conveyor help` and `conveyor help COMMAND`)');
  const commands = [
    addUp,
    addApply,
    addValidate,
    addDiff,
    addPlan,
    addRun,
    addLogs,
    addWatch,
    addCancel,
    addPause,
    addResume,
    addHold,
    addRelease,
    addGate,
    addRerun,
    addRetry,
    addGet,
    addGraph,
    addDescribe,
    addExplain,
    addDrain,
    addQueue,
    addDelete,
    addVerify,
    addValue,
    addSchedule,
    addSchema,
    addVersion,
  ];
  for (const add of commands) add(program, cli);
  // The reader of standard output may go away, as `head` does: that is no failure.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCode);
    throw error;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    const failure = describeFailure(thrown, address());
    terminal.status('');
    if (failure.message !== '') terminal.note(`error: ${failure.message}`);
    for (const detail of failure.details) terminal.note(`  ${detail}`);
    if (failure.next !== undefined) terminal.note(`next: ${failure.next}`);
    return failure.exitCode;
  }
}

function openClient(address: string, env: Environment): Client {
  try {
    return createNodeClient({ address, env });
  } catch (thrown) {
    throw thrown instanceof TypeError ? new UsageError(thrown.message) : thrown;
  }
}

const overview = `
Examples:
  conveyor up                          start a server on this machine
  conveyor validate -f ci.yaml         tell what is wrong with a pipeline
  conveyor apply -f ci.yaml            store it
  conveyor plan ci                     tell what a run of it would do
  conveyor run ci -p sha=HEAD --follow run it and show its logs
  conveyor get runs                    what runs, and what ran
  conveyor logs RUN/JOB -f             one job's log, live

Environment:
  CONVEYOR_ADDRESS       where the server is; native gRPC unless it is an http(s) URL
  CONVEYOR_HTTP_ADDRESS  its HTTP door, used when CONVEYOR_ADDRESS is not set
  CONVEYOR_TLS_CA        a PEM file with the certificates to trust (default: those of the system)
  CONVEYOR_TOKEN         an operator token
  CONVEYOR_DATA_DIR      where a server on this machine keeps its data and tokens (default: ~/.conveyor)
  NO_COLOR               no colours`;
