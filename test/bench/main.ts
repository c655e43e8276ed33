// Owns `pnpm bench`: which benchmarks there are, their options, and that one whose counts are wrong fails.
import { parseArgs } from 'node:util';
import { backlogFigures, measureBacklog } from './backlog.ts';
import { fairnessFigures, measureFairness } from './fairness.ts';
import { largeRunFigures, measureLargeRuns } from './large-run.ts';
import { lifecycleFigures, measureLifecycle } from './lifecycle.ts';
import { describeMachine } from './machine.ts';
import { measurePickup, pickupFigures } from './pickup.ts';
import { type Figure, renderTable, writeReport } from './report.ts';
import { measureStart, startFigures } from './start.ts';

const usage = `usage: pnpm bench lifecycle [--jobs N] [--runs N] [--json FILE] [--profile DIR]
       pnpm bench pickup [--jobs N] [--runs N] [--json FILE]
       pnpm bench backlog [--jobs N] [--runs N] [--json FILE]
       pnpm bench fairness [--jobs N] [--runs N] [--json FILE]
       pnpm bench large-run [--jobs N] [--runs N] [--json FILE]
       pnpm bench start [--compiled] [--runs N] [--json FILE]

--jobs     jobs of each run: 50,000 (lifecycle), 200 (pickup) or 10,000 (fairness) by default; jobs queued (backlog): 1,000, 100,000 and
           1,000,000 by default; large-run creates so many runs, by default 5
--runs     how often to measure, 3 by default; the table shows medians
--json     write every measurement to this file
--compiled start what \`pnpm build\` made, as an installed command does, instead of the sources
--profile  leave processor profiles of the server and the drivers in this directory`;

const BACKLOGS = [1_000, 100_000, 1_000_000];

interface Options {
  readonly jobs: number | undefined;
  readonly runs: number;
  readonly json: string | undefined;
  readonly profileDir: string | undefined;
  readonly compiled: boolean;
}

/** Each prints its table and returns what is wrong with what it measured. */
const benchmarks: Record<string, (options: Options) => Promise<string[]>> = {
  async lifecycle({ jobs = 50_000, profileDir, ...options }) {
    const measure = () => measureLifecycle({ jobs, profileDir });
    const measurements = await repeat('lifecycle', { jobs }, options, lifecycleFigures, measure);
    return measurements.flatMap(({ differences }) => differences);
  },
  async pickup({ jobs = 200, ...options }) {
    await repeat('pickup', { jobs }, options, pickupFigures, () => measurePickup({ jobs }));
    return [];
  },
  async backlog({ jobs, ...options }) {
    for (const queued of jobs === undefined ? BACKLOGS : [jobs]) {
      const json = options.json?.replace(/(\.json)?$/, `-${queued}.json`);
      console.log(`${queued.toLocaleString('en-US')} queued`);
      const measure = () => measureBacklog({ jobs: queued });
      await repeat('backlog', { jobs: queued }, { runs: options.runs, json }, backlogFigures, measure);
    }
    return [];
  },
  async fairness({ jobs = 10_000, ...options }) {
    await repeat('fairness', { jobs }, options, fairnessFigures, () => measureFairness({ jobs }));
    return [];
  },
  async 'large-run'({ jobs = 5, ...options }) {
    await repeat('large-run', { jobs }, options, largeRunFigures, () => measureLargeRuns({ runs: jobs }));
    return [];
  },
  async start({ compiled, ...options }) {
    await repeat('start', { compiled }, options, startFigures, () => measureStart({ compiled }));
    return [];
  },
};

async function repeat<Measurement>(
  benchmark: string,
  parameters: object,
  { runs, json }: Pick<Options, 'runs' | 'json'>,
  figures: readonly Figure<Measurement>[],
  measure: () => Promise<Measurement>,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (let run = 1; run <= runs; run++) {
    measurements.push(await measure());
    console.error(`${benchmark}: measured ${run} of ${runs}`);
  }
  console.log(renderTable(figures, measurements));
  const report = { benchmark, parameters, machine: describeMachine() };
  if (json !== undefined) await writeReport(json, report, figures, measurements);
  return measurements;
}

function readCommandLine() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      jobs: { type: 'string' },
      runs: { type: 'string', default: '3' },
      json: { type: 'string' },
      profile: { type: 'string' },
      compiled: { type: 'boolean', default: false },
    },
  });
  const [name = '', ...others] = positionals;
  const benchmark = benchmarks[name];
  if (benchmark === undefined || others.length > 0)
    throw new TypeError(`no such benchmark: '${positionals.join(' ')}'`);
  const jobs = values.jobs === undefined ? undefined : wholeNumber(values.jobs);
  const { json, profile: profileDir, compiled } = values;
  const options: Options = { jobs, runs: wholeNumber(values.runs), json, profileDir, compiled };
  return () => benchmark(options);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`'${text}' is no whole number from 1`);
  return value;
}

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

if (process.platform !== 'linux') refuse('the benchmarks read /proc, which only Linux has');
let run: ReturnType<typeof readCommandLine>;
try {
  run = readCommandLine();
} catch (error) {
  refuse(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
}
const wrong = await run();
for (const difference of wrong) console.error(`wrong: ${difference}`);
process.exitCode = wrong.length === 0 ? 0 : 1;
