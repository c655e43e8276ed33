// `conveyor schedule`: rules that make runs by time.
import { type ScheduleOccurrence, ScheduleOccurrenceState } from '@conveyor/client';
import { ScheduleOccurrenceSchema, ScheduleSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { UsageError, exitCodes } from '../failure.ts';
import { show, take } from '../lists.ts';
import { readScheduleFile, withFilePlaces } from '../read-files.ts';
import { occurrenceDetail, occurrenceTable, scheduleFields, scheduleTable } from '../schedule-tables.ts';
import { enumName, parseTime, time } from '../text.ts';

export function addSchedule(program: Command, cli: Cli): void {
  const schedule = program
    .command('schedule')
    .summary('make runs by time')
    .description('Makes, shows and steers schedules: rules that make runs by time.')
    .addHelpText('after', help);
  addApply(schedule, cli);
  addReads(schedule, cli);
  addVerbs(schedule, cli);
  addBackfill(schedule, cli);
}

const help = `
Examples:
  conveyor schedule apply -f nightly.yaml
  conveyor schedule next nightly
  conveyor schedule pause nightly --reason 'release week'`;

const RECENT = 10;

function addApply(schedule: Command, cli: Cli): void {
  schedule
    .command('apply')
    .description('Creates a schedule, or changes it.')
    .requiredOption('-f, --file <file>', 'the schedule as YAML or JSON; - is standard input')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule apply -f nightly.yaml')
    .action(async ({ file, output }: OutputOptions & { file: string }) => {
      const { client, terminal } = cli;
      const read = await readScheduleFile(cli, file);
      const { name, spec, paused } = read;
      if (name === undefined)
        throw new UsageError(`${file} has no name`, 'add a line such as `name: nightly` at its top');
      const applied = await withFilePlaces(read, client().schedules.apply({ name, spec, paused }));
      for (const warning of applied.warnings) terminal.note(`warning: ${warning}`);
      if (output === 'json') return terminal.print(prettyJson(jsonOf(ScheduleSchema, applied.schedule)));
      const next = time(applied.schedule.nextTime);
      const comes = applied.schedule.paused ? 'paused' : next === '' ? 'it comes no more' : `next at ${next}`;
      return terminal.print(`schedule ${name} ${applied.changed ? 'applied' : 'unchanged'}, ${comes}`);
    });
}

function addReads(schedule: Command, cli: Cli): void {
  schedule
    .command('list')
    .description('Lists schedules by name.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule list')
    .action(async ({ output }: OutputOptions) => {
      const schedules = await Array.fromAsync(cli.client().schedules.list());
      await show(cli, output, ScheduleSchema, schedules, () => scheduleTable(schedules));
    });
  schedule
    .command('get')
    .description('Shows a schedule and its latest occurrences.')
    .argument('<schedule>')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule get nightly')
    .action(async (name: string, { output }: OutputOptions) => {
      const { schedules } = cli.client();
      const found = await schedules.get(name);
      if (output === 'json') return cli.terminal.print(prettyJson(jsonOf(ScheduleSchema, found)));
      const latest = await newest(cli, name, RECENT);
      const past = latest.length === 0 ? '' : `\n\n${occurrenceTable(latest, cli.terminal.colors)}`;
      return cli.terminal.print(`${scheduleFields(found)}${past}`);
    });
  schedule
    .command('next')
    .description('Tells when a schedule comes next, in UTC; while it is paused, when it would.')
    .argument('<schedule>')
    .option('-n, --count <number>', 'how many times', parseNumber('times', 100), RECENT)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule next nightly -n 3')
    .action(async (name: string, { count, output }: OutputOptions & { count: number }) => {
      const times = (await cli.client().schedules.upcoming(name, count)).map((date) => date.toISOString());
      const lines = times.map((iso) => iso.replace('T', ' ').replace('.000', ''));
      await cli.terminal.print(output === 'json' ? prettyJson(times) : lines.join('\n'));
    });
  schedule
    .command('occurrences')
    .description('Lists what became of the occurrences of a schedule, newest first.')
    .argument('<schedule>')
    .option('--limit <number>', 'how many at most', parseNumber('limit', 100_000), 50)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule occurrences nightly --limit 5')
    .action(async (name: string, { limit, output }: OutputOptions & { limit: number }) => {
      const found = await newest(cli, name, limit);
      await show(cli, output, ScheduleOccurrenceSchema, found, () => occurrenceTable(found, cli.terminal.colors));
    });
}

function addVerbs(schedule: Command, cli: Cli): void {
  schedule
    .command('pause')
    .description('Lets no occurrence come by time until the schedule is resumed.')
    .argument('<schedule>')
    .option('--reason <text>', 'why, for people to read')
    .addHelpText('after', "\nExample:\n  conveyor schedule pause nightly --reason 'release week'")
    .action(async (name: string, { reason }: { reason?: string }) => {
      await cli.client().schedules.pause(name, reason === undefined ? {} : { reason });
      await cli.terminal.print(`schedule ${name} paused`);
      cli.terminal.note(`next: conveyor schedule resume ${name}`);
    });
  schedule
    .command('resume')
    .description('Ends a pause.')
    .argument('<schedule>')
    .addHelpText('after', '\nExample:\n  conveyor schedule resume nightly')
    .action(async (name: string) => {
      const { nextTime } = await cli.client().schedules.resume(name);
      await cli.terminal.print(`schedule ${name} resumed, next at ${time(nextTime) || '-'}`);
    });
  schedule
    .command('trigger')
    .description('Makes an occurrence now. Exits 1 when no run could be created for it.')
    .argument('<schedule>')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor schedule trigger nightly')
    .action(async (name: string, { output }: OutputOptions) => {
      const occurrence = await cli.client().schedules.trigger(name);
      const { state, runId } = occurrence;
      if (state === ScheduleOccurrenceState.FAILED) cli.exitWith(exitCodes.failed);
      if (output === 'json') return cli.terminal.print(prettyJson(jsonOf(ScheduleOccurrenceSchema, occurrence)));
      const detail = occurrenceDetail(occurrence);
      const outcome = enumName(ScheduleOccurrenceState, state);
      if (runId === '') return cli.terminal.print(`${outcome}${detail === '' ? '' : `: ${detail}`}`);
      await cli.terminal.print(`run ${runId} started`);
      return cli.terminal.note(`next: conveyor watch ${runId}`);
    });
  schedule
    .command('delete')
    .description('Deletes a schedule and the records of its occurrences. Its runs stay and go on.')
    .argument('<schedule>')
    .addHelpText('after', '\nExample:\n  conveyor schedule delete nightly')
    .action(async (name: string) => {
      await cli.client().schedules.delete(name);
      await cli.terminal.print(`schedule ${name} deleted`);
    });
}

interface BackfillOptions {
  readonly from: Date;
  readonly until: Date;
  readonly parallel: number;
}

function addBackfill(schedule: Command, cli: Cli): void {
  schedule
    .command('backfill')
    .description('Runs the occurrences of a past range that made no run, oldest first.')
    .argument('<schedule>')
    .requiredOption('--from <time>', 'begins the range, such as 2026-01-31 or 2026-01-31T12:00:00Z', requireTime)
    .requiredOption('--until <time>', 'ends the range, which excludes it', requireTime)
    .option('--parallel <number>', 'how many at a time', parseNumber('number', 100), 1)
    .addHelpText(
      'after',
      '\nExample:\n  conveyor schedule backfill nightly --from 2026-01-01 --until 2026-02-01 --parallel 4',
    )
    .action(async (name: string, { from, until, parallel }: BackfillOptions) => {
      const queued = await cli.client().schedules.backfill(name, { from, until, maxParallel: parallel });
      await cli.terminal.print(`${queued} occurrence${queued === 1 ? '' : 's'} of schedule ${name} queued`);
      cli.terminal.note(`next: conveyor schedule occurrences ${name}`);
    });
}

function newest(cli: Cli, name: string, limit: number): Promise<ScheduleOccurrence[]> {
  const occurrences = cli.client().schedules.occurrences(name, { pageSize: Math.min(limit, 1_000) });
  return Array.fromAsync(take(occurrences, limit));
}

function requireTime(text: string): Date {
  const date = parseTime(text);
  if (date === undefined) throw new UsageError(`'${text}' is no time`, 'write 2026-01-31 or 2026-01-31T12:00:00Z');
  return date;
}

function parseNumber(what: string, max: number): (text: string) => number {
  return (text) => {
    const number = /^[1-9]\d{0,6}$/.test(text) ? Number(text) : Number.NaN;
    if (!(number <= max)) throw new UsageError(`'${text}' is no ${what}`, `write a number from 1 to ${max}`);
    return number;
  };
}
