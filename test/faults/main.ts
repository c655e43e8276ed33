// Owns `pnpm test:faults`: brings about the faults of the catalogue one after the other, each against real server processes over one
// PostgreSQL with real drivers and clients, and fails when a promise was broken or a fault did not happen. With `--mutations` the
// servers are given defects, and it fails when the checker does not notice one.
//
// To add a fault: write a `Fault` (fault.ts) into a file of scenarios/ and name its list in catalogue.ts. `strike` gets a `Stage`
// (stage.ts) whose load is flowing: break something by `stage.places[n].door` (clients and drivers to that replica), by
// `.database` (that replica to PostgreSQL; `atCommit` springs at a COMMIT), by `.server()` (the process) or by `stage.drivers`, see
// to its end so that every place serves again, and return how often it fired, by a count of what it did, and how long recovery
// took. Everything that clients, watchers and drivers are told is written down, and once all have stopped checker/check.ts holds it
// against the database: a scenario states only what it promises beyond that.
import { parseArgs } from 'node:util';
import { setup } from '../../packages/server/src/store/testing/global-setup.ts';
import { catalogue, short } from './catalogue.ts';
import type { Fault } from './fault.ts';
import { type Grounds, openGrounds } from './grounds.ts';
import { type Mutation, mutations } from './mutations.ts';
import { createRandom } from './random.ts';
import { complaintsOf, renderFaults, renderMutations, verdictOf, writeReport } from './report.ts';
import { type FaultResult, hasPassed, runFault } from './run-fault.ts';
import { type MutationResult, runMutation } from './run-mutation.ts';

const usage = `usage: pnpm test:faults [--short] [--only NAME]... [--seed N] [--soak MINUTES] [--kills N] [--idle MINUTES]
                        [--json FILE]
       pnpm test:faults --mutations [--only N]... [--seed N] [--json FILE]

--short      only those faults that together take about a minute
--only       only the fault of this name, or the mutation of the invariant with this number
--seed       what the random choices follow from; a new one by default, and always told
--soak       go on from seed to seed for as many minutes
--kills      how often everything-killed kills everything, 2 times by default
--idle       how many minutes longer the transactions of idle-transaction stay open, none by default
--mutations  put a defect into the servers for each invariant, and see the checker notice
--json       write every result to this file`;

const INTERRUPTED = 130;
/** Of invariants that a mutant breaks, runs and watchers do not come to their end. */
const MUTANT_SETTLE_MS = 5_000;

interface Options {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly mutations: readonly Mutation[];
  readonly soakMs: number;
  readonly kills: number;
  readonly idleMs: number;
  readonly json: string | undefined;
}

function readCommandLine(): Options {
  const { values } = parseArgs({
    options: {
      short: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
      soak: { type: 'string', default: '0' },
      kills: { type: 'string', default: '2' },
      idle: { type: 'string', default: '0' },
      mutations: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  const { only } = values;
  return {
    seed: wholeNumber('--seed', values.seed),
    faults: values.mutations ? [] : chosen('fault', values.short ? short : catalogue, ({ name }) => name, only),
    mutations: values.mutations ? chosen('mutation', mutations, ({ invariant }) => String(invariant), only) : [],
    soakMs: wholeNumber('--soak', values.soak) * 60_000,
    kills: wholeNumber('--kills', values.kills),
    idleMs: wholeNumber('--idle', values.idle) * 60_000,
    json: values.json,
  };
}

function chosen<T>(kind: string, all: readonly T[], nameOf: (one: T) => string, only: readonly string[]): readonly T[] {
  const names = all.map(nameOf);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`no such ${kind}: '${unknown}'; there are ${names.join(', ')}`);
  return only.length === 0 ? all : all.filter((one) => only.includes(nameOf(one)));
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isInteger(value) || value < 0)
    throw new TypeError(`${option}: '${text}' is no whole number from 0`);
  return value;
}

async function playFaults({ seed, faults, soakMs, kills, idleMs }: Options): Promise<readonly FaultResult[]> {
  const untilMs = performance.now() + soakMs;
  const results: FaultResult[] = [];
  for (let round = seed; round === seed || performance.now() < untilMs; round++) {
    console.error(`faults: seed ${round}`);
    const random = createRandom(round);
    for (const fault of faults) {
      const result = await runFault({ fault, random: random.fork(fault.name), kills, idleMs });
      results.push(result);
      console.error(`${fault.name}: ${verdictOf(result)} (${Math.round(result.tookMs)} ms)`);
      for (const line of complaintsOf(result)) console.error(`  ${line}`);
    }
  }
  return results;
}

async function playMutations({ seed, mutations: chosenOnes }: Options): Promise<readonly MutationResult[]> {
  const random = createRandom(seed);
  const results: MutationResult[] = [];
  console.error(`mutations: seed ${seed}`);
  for (const mutation of chosenOnes) {
    const result = await runMutation(mutation, random.fork(mutation.says), MUTANT_SETTLE_MS);
    results.push(result);
    console.error(`invariant ${mutation.invariant}: ${result.noticed} noticed (${Math.round(result.tookMs)} ms)`);
  }
  return results;
}

/** What could not be brought about is neither. */
interface Tally {
  readonly passed: number;
  readonly failed: number;
}

async function play(options: Options): Promise<Tally> {
  const { seed, json, mutations: mutants } = options;
  if (mutants.length > 0) {
    const results = await playMutations(options);
    console.log(renderMutations(results));
    if (json !== undefined) await writeReport(json, { suite: 'mutations', seed, results });
    const passed = results.filter(({ noticed }) => noticed > 0).length;
    return { passed, failed: results.length - passed };
  }
  const results = await playFaults(options);
  console.log(renderFaults(results));
  if (json !== undefined) await writeReport(json, { suite: 'faults', seed, results });
  const played = results.filter(({ notRun }) => notRun === undefined);
  const passed = played.filter(hasPassed).length;
  return { passed, failed: played.length - passed };
}

async function run(options: Options, grounds: Grounds): Promise<void> {
  const stop = await setup();
  let played: Tally;
  try {
    played = await play(options);
  } finally {
    await stop();
  }
  const left = await grounds.running();
  if (left.length > 0) console.error(`faults: ${left.length} processes were left: ${left.join(', ')}`);
  const failed = played.failed + Math.min(1, left.length);
  console.log(`\nfaults: ${played.passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

if (process.platform !== 'linux') refuse('the faults read /proc, which only Linux has');
let options: Options;
try {
  options = readCommandLine();
} catch (error) {
  refuse(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
}
const grounds = await openGrounds();
let ending = false;
/** Ends whatever was started. What breaks off then is no news. */
function endEarly(why: unknown, code: number): void {
  if (ending) return;
  ending = true;
  console.error('faults: ending what was started:', why);
  void grounds.clear().finally(() => process.exit(code));
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => endEarly(signal, INTERRUPTED));
process.on('uncaughtException', (error) => endEarly(error, 1));
try {
  await run(options, grounds);
} finally {
  await grounds.clear();
}
