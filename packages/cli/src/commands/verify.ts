// `conveyor verify`: compares what is stored of a run with its ledger.
import { VerifyRunResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { VerifyRunResponse } from '@conveyor/client';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { exitCodes } from '../failure.ts';
import { bytes, table } from '../text.ts';

export function addVerify(program: Command, cli: Cli): void {
  program
    .command('verify')
    .summary('compare a run with its ledger')
    .description(
      'Replays the ledger of a run and compares what comes of it with the run, its jobs, attempts and logs as they are stored. Exits 1 when something differs.',
    )
    .argument('<run>', 'id of the run')
    .option('--skip-logs', 'leave the bytes of logs out, which may be by far the most to read')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor verify RUN && echo it is as its ledger says')
    .action((runId: string, options: VerifyOptions) => verify(cli, runId, options));
}

interface VerifyOptions extends OutputOptions {
  readonly skipLogs?: true;
}

async function verify({ client, terminal, exitWith }: Cli, runId: string, options: VerifyOptions): Promise<void> {
  const { skipLogs = false, output } = options;
  // However much there is to read.
  const answer = await client().runs.verify(runId, { skipLogs, timeoutMs: 0 });
  if (answer.discrepancyCount > 0n) exitWith(exitCodes.failed);
  if (output === 'json') return terminal.print(prettyJson(jsonOf(VerifyRunResponseSchema, answer)));
  return terminal.print(verificationText(runId, answer, skipLogs));
}

function verificationText(
  runId: string,
  { verified, discrepancyCount, discrepancies }: VerifyRunResponse,
  skipLogs: boolean,
): string {
  const { events = 0n, jobs = 0n, attempts = 0n, logs = 0n, logBytes = 0n, expiredLogs = 0n } = verified ?? {};
  const compared = [
    counted(events, 'event'),
    counted(jobs, 'job'),
    counted(attempts, 'attempt'),
    skipLogs ? 'no logs' : `${counted(logs, 'log')} of ${bytes(logBytes)}`,
    ...(expiredLogs > 0n ? [`${counted(expiredLogs, 'expired log')} passed over`] : []),
  ].join(', ');
  if (discrepancyCount === 0n) return `run ${runId} is as its ledger says: ${compared}`;
  const rows = discrepancies.map(({ where, expected, found }) => [where, expected, found]);
  const left = discrepancyCount - BigInt(rows.length);
  return [
    `run ${runId} differs from its ledger in ${counted(discrepancyCount, 'place')}: ${compared}`,
    table(['WHERE', 'EXPECTED', 'FOUND'], rows),
    ...(left > 0n ? [`and ${left} more`] : []),
  ].join('\n');
}

function counted(count: bigint, what: string): string {
  return `${count} ${what}${count === 1n ? '' : 's'}`;
}
