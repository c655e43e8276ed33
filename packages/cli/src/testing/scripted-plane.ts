// Owns a control plane for tests of the command: one pipeline, one driver, and one run whose ledger and logs a test writes.
import { type MessageInitShape, create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { GateVerdict, JobStanding, JobState, LogState, RunState } from '@conveyor/client';
import { type ScriptedServer, refusal, startScriptedServer } from '@conveyor/client/testing';
import type { ArtifactSchema } from '@conveyor/protocol/conveyor/v1/artifact_pb.js';
import { type Event, EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { type JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import type { PipelineDefinition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type PipelineDiffSchema, PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import type { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import {
  type CreateRunRequest,
  type DiscrepancySchema,
  RunService,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { serveDrivers } from './scripted-drivers.ts';

export const runId = '01900000-0000-7000-8000-000000000001';
/** Of the run that a retry makes. */
export const newRunId = '01900000-0000-7000-8000-000000000002';
const startMs = Date.UTC(2026, 0, 2, 3, 4, 5);

/** What a test decides. */
export interface Script {
  /** The jobs of the run and their logs. Default: one, `build`, with an empty log. */
  readonly jobs?: Readonly<
    Record<
      string,
      {
        readonly log?: string | Uint8Array;
        readonly state?: JobState;
        /** Its run added it: it is no job of the definition. Default: false. */
        readonly isAppended?: boolean;
        /** What keeps it from starting. Default: nothing. */
        readonly blockers?: readonly string[];
        /** What else GetJob and ListJobs say of it; a cell is no job of the run's definition. */
        readonly shown?: Omit<MessageInitShape<typeof JobSchema>, '$typeName' | 'name' | 'jobId'>;
      }
    >
  >;
  /** Events between the run's first and last; `seq` and `time` count up by themselves. Default: each job starts and succeeds. */
  readonly events?: readonly MessageInitShape<typeof EventSchema>[];
  /** Where the run ends; RUNNING is a run that goes on for ever. Default: SUCCEEDED. */
  readonly state?: RunState;
  /** The newest event, as GetRun says it. Default: 0. */
  readonly seq?: bigint;
  /** Why the run was cancelled, and whether it stops at its first failure. Default: empty, false. */
  readonly stops?: { readonly cancelReason?: string; readonly failFast?: boolean };
  /** Set while the run is paused. */
  readonly pause?: { readonly reason: string; readonly actor: string };
  /** The first watcher gets the run's first event only, and then nothing. Default: false. */
  readonly stalls?: boolean;
  /** The bytes of logs are gone by their age. Default: false. */
  readonly expired?: boolean;
  /** How whatever is compared differs. Default: not at all. */
  readonly diff?: MessageInitShape<typeof PipelineDiffSchema>;
  /** What the verification of the run finds. Default: nothing. */
  readonly discrepancies?: readonly MessageInitShape<typeof DiscrepancySchema>[];
}

/** The scripted control plane, and what it was asked. */
export interface ScriptedPlane extends ScriptedServer {
  readonly created: readonly CreateRunRequest[];
  /** Calls that change something, by method and what matters of their request. */
  readonly changes: readonly unknown[];
  /** Variables that lead a command here. */
  readonly env: Readonly<Record<string, string>>;
}

export async function startScriptedPlane(script: Script = {}): Promise<ScriptedPlane> {
  const { jobs = { build: {} }, state = RunState.SUCCEEDED } = script;
  const names = Object.keys(jobs);
  const defined = names.filter((name) => jobs[name]?.shown?.matrixJob === undefined && jobs[name]?.isAppended !== true);
  const events = ledger(names, script.events, state);
  const created: CreateRunRequest[] = [];
  const changes: unknown[] = [];
  let watches = 0;
  const runOf = (
    id: string,
    change: Pick<MessageInitShape<typeof RunSchema>, 'state' | 'pause'> = {},
  ): MessageInitShape<typeof RunSchema> => {
    if (id !== runId) throw refusal('not_found', 'RUN_NOT_FOUND', `there is no run ${id}`);
    return {
      runId,
      pipeline: 'ci',
      revision: 3,
      state,
      seq: script.seq ?? 0n,
      labels: { branch: 'main' },
      ...(script.pause !== undefined && { pause: { ...script.pause, time: timestampFromMs(startMs) } }),
      createTime: timestampFromMs(startMs),
      startTime: timestampFromMs(startMs),
      ...(state === RunState.RUNNING ? {} : { finishTime: timestampFromMs(startMs + 61_000) }),
      jobCounts: { total: names.length, succeeded: names.length },
      cancelReason: script.stops?.cancelReason ?? '',
      definition: {
        jobs: defined.map((name) => jobs[name]?.shown?.definition ?? { name, driver: 'shell' }),
        failFast: script.stops?.failFast ?? false,
      },
      appendedJobs: [
        {
          job: names[0] ?? '',
          jobs: names.flatMap((name) => (jobs[name]?.isAppended ? (jobs[name].shown?.definition ?? []) : [])),
        },
      ],
      ...change,
    };
  };
  const jobOf = (
    name: string,
    made: Pick<MessageInitShape<typeof JobSchema>, 'artifacts' | 'artifactCount'> = {},
  ): MessageInitShape<typeof JobSchema> => ({
    ...made,
    jobId: `id-of-${name}`,
    runId,
    name,
    driver: 'shell',
    state: jobs[name]?.state ?? JobState.SUCCEEDED,
    attempt: 1,
    ...jobs[name]?.shown,
    ...(jobs[name]?.state === JobState.FAILED
      ? { failure: jobs[name].shown?.failure ?? { message: 'it broke', exitCode: 7 } }
      : {}),
  });
  const logPart = (jobId: string) => {
    if (script.expired === true) return { attempt: 1, logState: LogState.EXPIRED, logSize: 7n };
    const data = Buffer.from(jobs[jobId.slice('id-of-'.length)]?.log ?? '');
    return { attempt: 1, chunks: [{ data }], logState: LogState.SEALED, logSize: BigInt(data.length) };
  };
  const server = await startScriptedServer((router) => {
    router.service(ServerService, { getServerInfo: () => ({ version: '9.8.7', replica: 'replica-1' }) });
    router.service(PipelineService, {
      applyPipeline({ name, definition, validateOnly, expectedRevision }) {
        const asked = { [validateOnly ? 'validate' : 'apply']: name, jobs: definition?.jobs.map((job) => job.name) };
        changes.push({ ...asked, ...(expectedRevision !== undefined && { expectedRevision }) });
        const field = 'definition.jobs[1].needs[0]';
        const isWrong = definition?.jobs[1]?.needs[0] === 'biuld';
        const fields = [
          { field, description: 'there is no job "biuld"' },
          ...(definition?.jobs[1]?.if
            ? [{ field: 'definition.jobs[1].if', description: 'at column 9: there is no variable "parms"', offset: 8 }]
            : []),
        ];
        if (isWrong) throw refusal('invalid_argument', 'INVALID_FIELD', 'the definition is wrong', { fields });
        const told = { changed: true, ...warningsOf('definition', definition) };
        if (!validateOnly) return { pipeline: { name, revision: 3 }, ...told };
        return {
          ...(name === 'ci' && { pipeline: { name, revision: 3 } }),
          ...told,
          diff: { ...script.diff },
        };
      },
      getPipeline({ name }) {
        if (name !== 'ci') throw refusal('not_found', 'PIPELINE_NOT_FOUND', `there is no pipeline ${name}`);
        const paramsSchema = { type: 'object', properties: { count: { type: 'integer' } } };
        const definition = { jobs: names.map((job) => ({ name: job, driver: 'shell' })), paramsSchema };
        return { pipeline: { name, revision: 3, definition } };
      },
      diffPipelineRevisions: ({ fromRevision, toRevision }) => ({
        fromRevision,
        toRevision: toRevision === 0 ? 3 : toRevision,
        diff: { ...script.diff },
      }),
      deletePipeline({ name }) {
        changes.push({ delete: name });
        return {};
      },
      listPipelines: () => ({ pipelines: [{ name: 'ci', revision: 3, updateTime: timestampFromMs(Date.now()) }] }),
    });
    router.service(RunService, {
      createRun(request) {
        created.push(request);
        const { source } = request.run ?? {};
        const definition = source?.case === 'definition' ? source.value : undefined;
        return { run: runOf(runId), ...warningsOf('run.definition', definition) };
      },
      getRun: (request) => ({ run: runOf(request.runId) }),
      listRuns: () => ({ runs: [runOf(runId)] }),
      cancelRun({ runId: id, reason, force }) {
        changes.push({ cancel: id, reason, force });
        return { run: { ...runOf(id), state: RunState.CANCELLING } };
      },
      pauseRun({ runId: id, reason, actor }) {
        changes.push({ pause: id, reason, actor });
        return { run: runOf(id, { state: RunState.RUNNING, pause: { reason, actor } }) };
      },
      resumeRun({ runId: id, reason, actor }) {
        changes.push({ resume: id, reason, actor });
        return { run: runOf(id, { state: RunState.RUNNING }) };
      },
      rerunRun({ runId: id, scope, fromJobs }) {
        changes.push({ rerun: id, scope, fromJobs });
        return { run: runOf(id) };
      },
      deleteRun({ runId: id }) {
        changes.push({ delete: runOf(id).runId });
        return {};
      },
      verifyRun({ runId: id, skipLogs }) {
        const { runId: verified } = runOf(id);
        changes.push({ verify: verified, skipLogs });
        const { discrepancies = [] } = script;
        return {
          verified: { events: 4n, jobs: 1n, attempts: 1n, logs: 1n, logBytes: 1536n },
          discrepancyCount: BigInt(discrepancies.length && discrepancies.length + 3),
          discrepancies: [...discrepancies],
        };
      },
      listRunArtifacts({ runId: id, job }) {
        runOf(id);
        const made = names.filter((name) => job === '' || job === name);
        return { artifacts: made.map((name) => ({ job: name, attempt: 1, number: 1, artifact: artifactOf(name) })) };
      },
      async *watchRun({ afterSeq }, { signal }) {
        watches += 1;
        const isStalled = watches === 1 && script.stalls === true;
        yield { events: events.filter(({ seq }) => seq > afterSeq && (seq === 1n || !isStalled)) };
        if (isStalled || state === RunState.RUNNING) {
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        }
      },
    });
    router.service(JobService, {
      listJobs: (request) => ({
        jobs: names
          .filter((name) => {
            const { matrixJob = '' } = jobs[name]?.shown ?? {};
            return request.names.length === 0 || request.names.includes(name) || request.names.includes(matrixJob);
          })
          .map((name) => jobOf(name))
          .filter((job) => request.states.length === 0 || request.states.includes(job.state ?? 0)),
      }),
      getJob({ jobId }) {
        const name = jobId.slice('id-of-'.length);
        return { job: jobOf(name, { artifacts: [artifactOf(name)], artifactCount: 3 }) };
      },
      explainJob({ jobId }) {
        const { state = JobState.SUCCEEDED, blockers = [] } = jobs[jobId.slice('id-of-'.length)] ?? {};
        const kind = { case: 'backoff' as const, value: { untilTime: timestampFromMs(startMs) } };
        const isBlocked = blockers.length > 0;
        return {
          jobId,
          state,
          standing: isBlocked
            ? JobStanding.BLOCKED
            : state === JobState.SUCCEEDED
              ? JobStanding.FINISHED
              : JobStanding.STARTING,
          message: isBlocked ? `${blockers.length} keep it` : 'nothing blocks it',
          blockers: blockers.map((message) => ({ message, kind })),
          caveats: isBlocked ? [{ message: 'it may be skipped' }] : [],
          time: timestampFromMs(startMs),
          seq: 7n,
        };
      },
      getConcurrencyGroup: ({ key }) => ({ group: { key } }),
      listAttempts: () => ({
        attempts: [{ number: 1, driverInstance: 'host-1', logSize: 1536n, logState: LogState.SEALED }],
      }),
      cancelJob({ jobId, reason }) {
        changes.push({ cancel: jobId, reason });
        return { job: { state: JobState.CANCELLING } };
      },
      holdJob({ jobId, reason, actor }) {
        changes.push({ hold: jobId, reason, actor });
        return { job: { state: JobState.RUNNING, hold: { reason, actor } } };
      },
      releaseJob({ jobId, reason, actor }) {
        changes.push({ release: jobId, reason, actor });
        return { job: { state: JobState.QUEUED } };
      },
      answerGate({ jobId, verdict, actor, groups, answers, comment }) {
        changes.push({ [GateVerdict[verdict].toLowerCase()]: jobId, actor, groups, answers, comment });
        const answer = { actor, verdict, answers: answers ?? {}, comment };
        const state = verdict === GateVerdict.REJECT ? JobState.FAILED : JobState.WAITING;
        return { job: { jobId, state, gateAnswers: [answer] } };
      },
      retryJob({ jobId, trigger }) {
        changes.push({ retry: jobId, kind: trigger?.kind });
        return { job: { runId: jobId === 'id-of-waiting' ? runId : newRunId, state: JobState.QUEUED } };
      },
      readLog: ({ jobId }) => logPart(jobId),
      async *tailLog({ jobId }) {
        yield logPart(jobId);
      },
    });
    serveDrivers(router, changes);
  });
  return Object.assign(server, { created, changes, env: { CONVEYOR_ADDRESS: server.grpcAddress } });
}

/** Nobody has connected, and nothing is stored. */
function warningsOf(field: string, definition: PipelineDefinition | undefined) {
  const [first] = definition?.jobs ?? [];
  if (first === undefined) return {};
  const warningDetails =
    first.call === undefined
      ? [{ field: `${field}.jobs[0].driver`, message: 'driver shell has never connected' }]
      : [{ field: `${field}.jobs[0].call.pipeline`, message: `pipeline ${first.call.pipeline} does not exist` }];
  return { warnings: warningDetails.map(({ message }) => message), warningDetails };
}

function ledger(names: readonly string[], middle: Script['events'], state: RunState): Event[] {
  const ended: MessageInitShape<typeof EventSchema> = { kind: { case: 'runFinished', value: {} } };
  const inits = [
    { kind: { case: 'runCreated' as const, value: { jobs: names.length } } },
    ...(middle ?? names.flatMap((job) => [started(job), finished(job, JobState.SUCCEEDED)])),
    ...(state === RunState.RUNNING ? [] : [ended]),
  ];
  return inits.map((init, index) =>
    create(EventSchema, { ...init, runId, seq: BigInt(index + 1), time: timestampFromMs(startMs + index * 1_000) }),
  );
}

function artifactOf(job: string): MessageInitShape<typeof ArtifactSchema> {
  return { name: `${job}.tgz`, digest: 'crc32c:00ff00ff', sizeBytes: 1536n, uri: `s3://builds/${job}.tgz` };
}

/** The first attempt of a job starts. */
export function started(job: string): MessageInitShape<typeof EventSchema> {
  const kind = { case: 'attemptStarted' as const, value: {} };
  return { job, jobId: `id-of-${job}`, jobState: JobState.RUNNING, attempt: 1, kind };
}

/** A job concludes. */
export function finished(job: string, jobState: JobState): MessageInitShape<typeof EventSchema> {
  return { job, jobId: `id-of-${job}`, jobState, attempt: 1, kind: { case: 'jobFinished', value: {} } };
}
