// Owns sessions of drivers at a running engine, without a stream: a test says frames, and looks at what it was told.
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { Definition, JobDefinition } from '../../core/definition.ts';
import type { Hello, ServerFrame } from '../../core/frames.ts';
import type { AttemptKey } from '../../core/ids.ts';
import { definitionOf, jobNamed } from '../../core/testing/definitions.ts';
import type { DriverSession } from '../driver-operations.ts';
import type { Engine } from '../engine.ts';

export interface ConnectedDriver {
  readonly driver: string;
  readonly incarnation: Uint8Array;
  readonly session: DriverSession;
  /** The first frame of a kind that it was told. */
  readonly find: <Type extends ServerFrame['type']>(type: Type) => Extract<ServerFrame, { type: Type }> | undefined;
  /** How many of a kind it was told. */
  readonly count: (type: ServerFrame['type']) => number;
}

/** Connects a driver of a name of its own, with one slot, unless `change` says otherwise. */
export async function connectDriver({ drivers }: Engine, change: Partial<Hello> = {}): Promise<ConnectedDriver> {
  const heard: ServerFrame[] = [];
  const incarnation = randomBytes(16);
  const driver = `driver-${randomBytes(4).toString('hex')}`;
  const session = await drivers.openSession(
    { role: 'driver', id: 'test' },
    {
      driver,
      instance: 'i-1',
      incarnation,
      capabilities: [],
      labels: {},
      slots: 1,
      pools: {},
      held: [],
      version: '',
      ...change,
    },
    { send: (frame) => void heard.push(frame), queuedBytes: () => 0, end: () => undefined },
  );
  return {
    driver,
    incarnation,
    session,
    find: <Type extends ServerFrame['type']>(type: Type) =>
      heard.find((frame): frame is Extract<ServerFrame, { type: Type }> => frame.type === type),
    count: (type) => heard.filter((frame) => frame.type === type).length,
  };
}

/** Creates a run of one job for a driver, which starts it. @param rest Of its definition. */
export async function beginAttempt(
  { runs }: Engine,
  { driver, session, find }: ConnectedDriver,
  job: Partial<JobDefinition> = {},
  rest: Partial<Definition> = {},
): Promise<AttemptKey> {
  const { runId } = await runs.create('default', {
    definition: { ...definitionOf(jobNamed('one', { ...job, driver })), ...rest },
    params: {},
    labels: {},
    trigger: { kind: 'api', actor: '', reference: '' },
  });
  const key = { runId, job: 0, attempt: 1 };
  await expect.poll(() => find('Offer')).toBeDefined();
  session.receive([{ type: 'Accept', key }]);
  await expect.poll(() => find('Start')).toBeDefined();
  return key;
}
