// Clients that create, repeat, cancel, rerun and read runs as their random choices say, each call at one of the replicas.
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, RunInput } from '@conveyor/client';
import type { Random } from '../random.ts';
import { type History, record, type Sight, sightOf, type Told, type Wanted } from './history.ts';
import { type Definition, randomDefinition } from './shapes.ts';

export interface LoadOptions {
  readonly history: History;
  readonly random: Random;
  /** Of the replicas, each by its own way. */
  readonly clients: readonly Client[];
  /** Hears of each run that was certainly made, at most once. */
  readonly onRun: (run: Sight) => void;
  /** Whether there is enough to do: no more runs are made for now. */
  readonly isFull: () => boolean;
  readonly workers: number;
  /** Between two calls of one worker. */
  readonly pauseMs: number;
}

interface Request extends Wanted {
  readonly definition: Definition;
}

/** How many of its newest runs a worker may still choose to cancel or run again. */
const REMEMBERED = 20;
/** From this choice on, what is chosen makes no run. */
const WITHOUT_CREATES = 0.6;
/** How many runs of a list are read. */
const LISTED = 200;

/** Goes on until the abort, and then until the calls under way are answered. */
export async function runLoad(options: LoadOptions, signal: AbortSignal): Promise<void> {
  const workers = Array.from({ length: options.workers }, (_, index) => work(`client-${index}`, options, signal));
  await Promise.all(workers);
}

async function work(name: string, options: LoadOptions, signal: AbortSignal): Promise<void> {
  const { history, clients, onRun, isFull, pauseMs } = options;
  const random = options.random.fork(name);
  const known: string[] = [];
  let last: Request | undefined;
  let number = 0;

  function newRequest(): Request {
    number++;
    return {
      requestId: `${name}-${number}-${random.below(2 ** 31)}`,
      body: `${number}`,
      definition: randomDefinition(random),
    };
  }

  /** The run input that stands for a request; a forged one has the same id and another body. */
  function inputOf({ requestId, body, definition }: Request, forged = false): RunInput {
    return { requestId, definition, labels: { request: requestId, body: forged ? `${body} forged` : body } };
  }

  function learn(told: Told): void {
    if (told.kind !== 'done') return;
    for (const run of told.runs) {
      if (run === undefined || known.includes(run.runId)) continue;
      known.push(run.runId);
      onRun(run);
    }
    if (known.length > REMEMBERED) known.shift();
  }

  async function create(client: Client, request: Request, forged = false): Promise<void> {
    const { requestId, body } = request;
    const asked = { call: 'create', requestId, body: forged ? `${body} forged` : body } as const;
    const told = await record(history, name, asked, async () => [
      sightOf(await client.runs.create(inputOf(request, forged))),
    ]);
    learn(told);
    // Whoever does not know asks again, maybe elsewhere.
    if (told.kind === 'unknown' && !signal.aborted && random.chance(0.7)) {
      await delay(pauseMs);
      await create(random.pick(clients), request, forged);
    }
  }

  async function createBatch(client: Client): Promise<void> {
    const requests = Array.from({ length: 2 + random.below(4) }, newRequest);
    // An item that is said twice is one run.
    const items = random.chance(0.3) ? [...requests, random.pick(requests)] : requests;
    const asked = { call: 'batch', items: items.map(({ requestId, body }) => ({ requestId, body })) } as const;
    const told = await record(history, name, asked, async () => {
      const results = await client.runs.createBatch(items.map((item) => inputOf(item)));
      return results.map(({ outcome }) =>
        outcome.case === 'runId' ? { runId: outcome.value, seq: 0, state: '', labels: {} } : undefined,
      );
    });
    learn(told);
  }

  while (!signal.aborted) {
    const client = random.pick(clients);
    const choice = isFull() ? WITHOUT_CREATES + random.next() * (1 - WITHOUT_CREATES) : random.next();
    const runId = known.length === 0 ? undefined : random.pick(known);
    if (choice < 0.35 || runId === undefined) await create(client, (last = newRequest()));
    else if (choice < 0.42) await createBatch(client);
    else if (choice < 0.5) {
      const force = random.chance(0.2);
      await record(history, name, { call: 'cancel', runId, force }, async () => [
        sightOf(await client.runs.cancel(runId, { reason: 'the load', force })),
      ]);
    } else if (choice < WITHOUT_CREATES) {
      const requestId = `${name}-rerun-${random.below(2 ** 31)}`;
      const scope = random.pick(['all', 'failed'] as const);
      const told = await record(history, name, { call: 'rerun', runId, requestId }, async () => [
        sightOf(await client.runs.rerun(runId, { scope, requestId })),
      ]);
      learn(told);
    } else if (choice < 0.75 && last !== undefined) {
      // The same request again, or another one under its id.
      await create(client, last, random.chance(0.3));
    } else if (choice < 0.98) {
      await record(history, name, { call: 'get', runId }, async () => [sightOf(await client.runs.get(runId))]);
    } else {
      await record(history, name, { call: 'list' }, async () => {
        const runs: Sight[] = [];
        for await (const run of client.runs.list()) {
          runs.push(sightOf(run));
          if (runs.length === LISTED) break;
        }
        return runs;
      });
    }
    await delay(pauseMs * (0.5 + random.next()));
  }
}
