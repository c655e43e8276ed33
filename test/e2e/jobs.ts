// Writes the jobs of these tests down and reads what became of them.
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  AttemptState,
  type Client,
  FailureClass,
  type Job,
  type LogPart,
  type LogPosition,
  LogState,
} from '@conveyor/client';
import type { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { Workload } from './workload.ts';

type JobInit = MessageInitShape<typeof JobDefinitionSchema>;

/** A job that does what a workload says. */
export function jobOf(driver: string, workload: Workload, job: JobInit = {}): JobInit {
  return { name: 'job', driver, spec: { ...workload } as unknown as JsonObject, ...job };
}

/** The one job of a run of one job, created by itself. */
export async function createJob(client: Client, job: JobInit): Promise<Job> {
  return await client.jobs.create({ job });
}

/** Waits for the end of a job's run and reads the job. */
export async function finishedJob(client: Client, { jobId, runId }: Pick<Job, 'jobId' | 'runId'>): Promise<Job> {
  await client.runs.finished(runId);
  return await client.jobs.get(jobId);
}

/** The jobs of a run by name. */
export async function jobsByName(client: Client, runId: string): Promise<ReadonlyMap<string, Job>> {
  const jobs = new Map<string, Job>();
  for await (const job of client.jobs.list(runId)) jobs.set(job.name, job);
  return jobs;
}

/** The outputs of a job as plain values. */
export function outputsOf({ outputs }: Pick<Job, 'outputs'>): JsonObject {
  return Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, toJson(ValueSchema, value)]));
}

/** The stored bytes of a log. */
export async function storedLog(client: Client, jobId: string, position: LogPosition = {}): Promise<Buffer> {
  return await bytesOf(client.jobs.readLog(jobId, position));
}

/** The bytes of a log as they come, to its end. */
export async function tailedLog(client: Client, jobId: string, position: LogPosition = {}): Promise<Buffer> {
  return await bytesOf(client.jobs.tailLog(jobId, position));
}

async function bytesOf(parts: AsyncIterable<LogPart>): Promise<Buffer> {
  const data: Uint8Array[] = [];
  for await (const { chunks } of parts) data.push(...chunks.map((chunk) => chunk.data));
  return Buffer.concat(data);
}

/** What became of each attempt of a job, in order. */
export interface AttemptOutcome {
  readonly instance: string;
  readonly state: string;
  /** Its class; undefined when it did not fail. */
  readonly failure: string | undefined;
  readonly logState: string;
  readonly logSize: number;
}

export async function attemptsOf(client: Client, jobId: string): Promise<AttemptOutcome[]> {
  const outcomes: AttemptOutcome[] = [];
  for await (const attempt of client.jobs.attempts(jobId)) {
    const { driverInstance: instance, state, failure, logState, logSize } = attempt;
    outcomes.push({
      instance,
      state: AttemptState[state],
      failure: failure && FailureClass[failure.class],
      logState: LogState[logState],
      logSize: Number(logSize),
    });
  }
  return outcomes;
}
