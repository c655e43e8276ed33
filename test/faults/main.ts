// Owns `pnpm test:faults`: brings about the faults of the catalogue one after the other, each against real server processes over one
// PostgreSQL with real drivers and clients, and fails when a promise was broken or a fault did not happen.
//
// To add a fault: write a `Fault` (fault.ts) into a file of scenarios/ and name its list in catalogue.ts. `strike` gets a `Stage`
// (stage.ts) whose load is flowing: break something by `stage.places[n].door` (clients and drivers to that replica), by
// `.database` (that replica to PostgreSQL; `atCommit` springs at a COMMIT), by `.server()` (the process) or by `stage.drivers`, see
// to its end so that every place serves again, and return how often it fired, by a count of what it did, and how long recovery
// took. Everything that clients, watchers and drivers are told is written down, and once all have stopped checker/check.ts holds it
// against the database: a scenario states only what it promises beyond that.
import { parseArgs } from 'node:util';
import { setup } from '../../packages/server/src/store/testing/global-setup.ts';
import { catalogue } from './catalogue.ts';
import { createRandom } from './random.ts';
import { complaintsOf, renderFaults, verdictOf, writeReport } from './report.ts';
import { type FaultResult, hasPassed, runFault } from './run-fault.ts';

const usage = `usage: pnpm test:faults [--seed N] [--only NAME] [--soak MINUTES] [--json FILE]

--seed     what the random choices follow from; a new one by default, and always told
--only     only the fault of this name; may be said several times
--soak     go on from seed to seed for as many minutes
--json     write every result to this file`;

interface Options {
  readonly seed: number;
  readonly faults: typeof catalogue;
  readonly soakMs: number;
  readonly json: string | undefined;
}

function readCommandLine(): Options {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
      only: { type: 'string', multiple: true, default: [] },
      soak: { type: 'string', default: '0' },
      json: { type: 'string' },
    },
  });
  for (const name of values.only) {
    if (catalogue.some((fault) => fault.name === name)) continue;
    throw new TypeError(`no such fault: '${name}'; there are ${catalogue.map((fault) => fault.name).join(', ')}`);
  }
  const faults = values.only.length === 0 ? catalogue : catalogue.filter(({ name }) => values.only.includes(name));
  return { seed: wholeNumber(values.seed), faults, soakMs: wholeNumber(values.soak) * 60_000, json: values.json };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new TypeError(`'${text}' is no whole number from 0`);
  return value;
}

async function run({ seed, faults, soakMs, json }: Options): Promise<boolean> {
  const untilMs = performance.now() + soakMs;
  const results: FaultResult[] = [];
  for (let round = seed; round === seed || performance.now() < untilMs; round++) {
    console.log(`faults: seed ${round}`);
    const random = createRandom(round);
    for (const fault of faults) {
      const result = await runFault({ fault, random: random.fork(fault.name) });
      results.push(result);
      console.error(`${fault.name}: ${verdictOf(result)} (${Math.round(result.tookMs)} ms)`);
      for (const line of complaintsOf(result)) console.error(`  ${line}`);
    }
  }
  console.log(renderFaults(results));
  if (json !== undefined) await writeReport(json, { suite: 'faults', seed, results });
  return results.every((result) => hasPassed(result) || result.notRun !== undefined);
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
const stop = await setup();
try {
  process.exitCode = (await run(options)) ? 0 : 1;
} finally {
  await stop();
}
