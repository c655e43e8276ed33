// Requests with one thing wrong, and the field that is to be named.
import { type DescMessage, type DescMethod, fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { GateVerdict, JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RerunScope, RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { JOB_ID } from './sample-jobs.ts';
import { RUN_ID } from './sample-runs.ts';

const { method: pipelines } = PipelineService;
const { method: runs } = RunService;
const { method: jobs } = JobService;
const { method: values } = RunValueService;
const { method: schedules } = ScheduleService;
const { method: drivers } = DriverService;

export const byName = { case: 'pipeline', value: { name: 'ci' } } as const;
const manyLabels = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, '']));

/** So many lists and objects inside of each other. */
export function deep(levels: number): { [key: string]: JsonValue } {
  let value: JsonValue = 1;
  for (let level = 1; level < levels; level++) value = level % 2 === 0 ? { a: value } : [value];
  return { deep: value };
}

const deepJob = { name: 'a', driver: 'shell' };
const deepRun = (job: object) => ({ run: { source: { case: 'definition', value: { jobs: [job] } } } });

const valueOf = (json: JsonValue) => fromJson(ValueSchema, json);
const someValue = valueOf(true);
const daily = { run: { source: byName }, cron: ['@daily'] };
const second = (seconds: bigint) => ({ seconds });

type BadInput = [what: string, method: DescMethod, request: MessageInitShape<DescMessage>, field: string];
export const TOO_DEEP: readonly BadInput[] = [
  ['params', runs.createRun, { run: { source: byName, params: deep(26) } }, 'run.params.deep'],
  ['params, far too deep', runs.createRun, { run: { source: byName, params: deep(90) } }, 'run.params.deep'],
  ['params of a job', jobs.createJob, { job: deepJob, params: deep(26) }, 'params.deep'],
  ['a spec', jobs.createJob, { job: { ...deepJob, spec: deep(26) } }, 'job.spec.deep'],
  [
    'a schema of outputs',
    runs.createRun,
    deepRun({ ...deepJob, outputsSchema: { default: deep(25) } }),
    'run.definition.jobs[0].outputs_schema.default',
  ],
  [
    'params of a call',
    runs.createRun,
    deepRun({ name: 'a', call: { pipeline: 'b', params: deep(26) } }),
    'run.definition.jobs[0].call.params.deep',
  ],
  [
    'an axis',
    runs.createRun,
    deepRun({ ...deepJob, matrix: { axes: { a: [deep(24)] } } }),
    'run.definition.jobs[0].matrix.axes.a[0]',
  ],
  [
    'what is included',
    runs.createRun,
    deepRun({ ...deepJob, matrix: { include: valueOf([deep(25)]) } }),
    'run.definition.jobs[0].matrix.include[0]',
  ],
  [
    'what a form asks for',
    pipelines.applyPipeline,
    { name: 'ci', definition: { jobs: [{ name: 'a', gate: { formSchema: { default: deep(25) } } }] } },
    'definition.jobs[0].gate.form_schema.default',
  ],
  [
    'a schema of params',
    pipelines.applyPipeline,
    { name: 'ci', definition: { jobs: [deepJob], paramsSchema: { default: deep(25) } } },
    'definition.params_schema.default',
  ],
  ['a value', values.setRunValue, { runId: RUN_ID, key: 'k', value: valueOf(deep(26)) }, 'value.deep'],
  [
    'answers',
    jobs.answerGate,
    { jobId: JOB_ID, verdict: GateVerdict.APPROVE, actor: 'ada', answers: deep(26) },
    'answers.deep',
  ],
  [
    'params of a schedule',
    schedules.applySchedule,
    { name: 'nightly', spec: { ...daily, run: { source: byName, params: deep(26) } } },
    'spec.run.params.deep',
  ],
];
export const BAD_INPUT: readonly BadInput[] = [
  ['a pipeline without a name', pipelines.applyPipeline, { definition: {} }, 'name'],
  ['a malformed name', pipelines.getPipeline, { name: 'CI!' }, 'name'],
  ['no definition', pipelines.applyPipeline, { name: 'ci' }, 'definition.jobs'],
  [
    'an unknown need',
    pipelines.applyPipeline,
    { name: 'ci', definition: { jobs: [{ name: 'a', driver: 'shell', needs: ['b'] }] } },
    'definition.jobs[0].needs[0]',
  ],
  [
    'an unknown enum value',
    pipelines.applyPipeline,
    { name: 'ci', definition: { jobs: [{ name: 'a', driver: 'shell', when: 9 }] } },
    'definition.jobs[0].when',
  ],
  [
    'a negative duration',
    pipelines.applyPipeline,
    { name: 'ci', definition: { jobs: [{ name: 'a', driver: 'shell', timeouts: { runTimeout: { seconds: -1n } } }] } },
    'definition.jobs[0].timeouts.run_timeout',
  ],
  ['no revision to compare with', pipelines.diffPipelineRevisions, { name: 'ci' }, 'from_revision'],
  ['a negative expected revision', pipelines.applyPipeline, { name: 'ci', expectedRevision: -1 }, 'expected_revision'],
  ['a negative revision', pipelines.getPipeline, { name: 'ci', revision: -1 }, 'revision'],
  ['a negative page size', pipelines.listPipelines, { pageSize: -1 }, 'page_size'],
  ['a foreign page token', pipelines.listPipelines, { pageToken: 'xyz' }, 'page_token'],
  ['no run', runs.createRun, {}, 'run'],
  ['a run of nothing', runs.createRun, { run: {} }, 'run'],
  ['NUL in params', runs.createRun, { run: { source: byName, params: { a: ['\0'] } } }, 'run.params.a[0]'],
  ['oversize params', runs.createRun, { run: { source: byName, params: { a: 'x'.repeat(65_536) } } }, 'run.params'],
  ['too many labels', runs.createRun, { run: { source: byName, labels: manyLabels } }, 'run.labels'],
  ['a malformed label', runs.createRun, { run: { source: byName, labels: { 'a b': '' } } }, 'run.labels'],
  ['a long label', runs.createRun, { run: { source: byName, labels: { a: 'x'.repeat(257) } } }, 'run.labels["a"]'],
  ['a long request id', runs.createRun, { run: { source: byName }, requestId: 'x'.repeat(129) }, 'request_id'],
  ['the request id of a call', runs.createRun, { run: { source: byName }, requestId: 'call 1.0' }, 'request_id'],
  ['NUL in a request id', runs.createRun, { run: { source: byName }, requestId: 'a\0' }, 'request_id'],
  [
    'a long trigger',
    runs.createRun,
    { run: { source: byName, trigger: { kind: 'x'.repeat(64) } } },
    'run.trigger.kind',
  ],
  [
    'an inline definition with a cycle',
    runs.createRun,
    { run: { source: { case: 'definition', value: { jobs: [{ name: 'a', driver: 'd', needs: ['a'] }] } } } },
    'run.definition.jobs[0].needs[0]',
  ],
  ['an empty batch', runs.batchCreateRuns, {}, 'items'],
  ['an oversize batch', runs.batchCreateRuns, { items: Array.from({ length: 1_001 }, () => ({})) }, 'items'],
  ['no run id', runs.getRun, {}, 'run_id'],
  ['a malformed run id', runs.getRun, { runId: 'abc' }, 'run_id'],
  ['a run id in upper case', runs.getRun, { runId: RUN_ID.toUpperCase().replace('0', 'A') }, 'run_id'],
  ['a point before the first event', runs.getRun, { runId: RUN_ID, atSeq: -1n }, 'at_seq'],
  ['a point that no ledger can have', runs.getRun, { runId: RUN_ID, atSeq: 2n ** 60n }, 'at_seq'],
  ['a difference from nowhere', runs.diffRun, { runId: RUN_ID }, 'from_seq'],
  ['a difference from before the first event', runs.diffRun, { runId: RUN_ID, fromSeq: -1n }, 'from_seq'],
  ['a difference to before the first event', runs.diffRun, { runId: RUN_ID, fromSeq: 1n, toSeq: -1n }, 'to_seq'],
  ['a negative page of differences', runs.diffRun, { runId: RUN_ID, fromSeq: 1n, pageSize: -1 }, 'page_size'],
  ['a foreign page of differences', runs.diffRun, { runId: RUN_ID, fromSeq: 1n, pageToken: 'x' }, 'page_token'],
  ['a difference in no run', runs.diffRun, { fromSeq: 1n }, 'run_id'],
  ['a plan of nothing', runs.planRun, {}, 'run'],
  [
    'a plan of a malformed pipeline',
    runs.planRun,
    { run: { source: { case: 'pipeline', value: { name: 'CI!' } } } },
    'run.pipeline.name',
  ],
  [
    'a plan with a long label',
    runs.planRun,
    { run: { source: byName, labels: { a: 'x'.repeat(257) } } },
    'run.labels["a"]',
  ],
  [
    'a job that is assumed to be running',
    runs.planRun,
    { run: { source: byName }, assumed: { 'a[b]': { outcome: JobState.RUNNING } } },
    'assumed["a[b]"].outcome',
  ],
  [
    'an unknown assumption',
    runs.planRun,
    { run: { source: byName }, assumed: { a: { outcome: 99 } } },
    'assumed["a"].outcome',
  ],
  ['jobs before the first event', jobs.listJobs, { runId: RUN_ID, atSeq: -1n }, 'at_seq'],
  ['a job before the first event', jobs.getJob, { jobId: JOB_ID, atSeq: -1n }, 'at_seq'],
  ['a group without a key', jobs.getConcurrencyGroup, {}, 'key'],
  ['a group of a key that is too long', jobs.getConcurrencyGroup, { key: 'k'.repeat(257) }, 'key'],
  ['a foreign page of groups', jobs.listConcurrencyGroups, { pageToken: 'x' }, 'page_token'],
  ['a negative page of a group', jobs.getConcurrencyGroup, { key: 'k', pageSize: -1 }, 'page_size'],
  ['attempts before the first event', jobs.listAttempts, { jobId: JOB_ID, atSeq: -1n }, 'at_seq'],
  ['an unknown state', runs.listRuns, { filter: { states: [99] } }, 'filter.states[0]'],
  ['an unspecified state', runs.listRuns, { filter: { states: [0] } }, 'filter.states[0]'],
  ['a long reason', runs.cancelRun, { runId: RUN_ID, reason: 'x'.repeat(1_025) }, 'reason'],
  ['an unknown scope', runs.rerunRun, { runId: RUN_ID, scope: 9 }, 'scope'],
  ['a rerun from nowhere', runs.rerunRun, { runId: RUN_ID, scope: RerunScope.FROM }, 'from_jobs'],
  ['a rerun of all from a job', runs.rerunRun, { runId: RUN_ID, fromJobs: ['a'] }, 'from_jobs'],
  ['a long reason of a pause', runs.pauseRun, { runId: RUN_ID, reason: 'x'.repeat(1_025) }, 'reason'],
  ['a long actor of a resume', runs.resumeRun, { runId: RUN_ID, actor: 'x'.repeat(257) }, 'actor'],
  ['a malformed job of artifacts', runs.listRunArtifacts, { runId: RUN_ID, job: 'a b' }, 'job'],
  ['a negative page of artifacts', runs.listRunArtifacts, { runId: RUN_ID, pageSize: -1 }, 'page_size'],
  ['a negative seq', runs.watchRun, { runId: RUN_ID, afterSeq: -1n }, 'after_seq'],
  ['a foreign cursor', runs.watchRuns, { cursor: 'xyz' }, 'cursor'],
  ['no job', jobs.createJob, {}, 'job.name'],
  ['a lone job with needs', jobs.createJob, { job: { name: 'a', driver: 'd', needs: ['b'] } }, 'job.needs'],
  ['a malformed job id', jobs.getJob, { jobId: RUN_ID }, 'job_id'],
  ['too many names', jobs.listJobs, { runId: RUN_ID, names: Array.from({ length: 101 }, () => 'a') }, 'names'],
  ['a negative attempt', jobs.readLog, { jobId: JOB_ID, attempt: -1 }, 'attempt'],
  ['a negative offset', jobs.tailLog, { jobId: JOB_ID, offset: -1n }, 'offset'],
  ['an offset that no log can have', jobs.readLog, { jobId: JOB_ID, offset: 2n ** 60n }, 'offset'],
  ['a negative number of bytes', jobs.readLog, { jobId: JOB_ID, maxBytes: -1 }, 'max_bytes'],
  ['NUL in the reason of a hold', jobs.holdJob, { jobId: JOB_ID, reason: 'a\0' }, 'reason'],
  ['a malformed job id of a release', jobs.releaseJob, { jobId: 'x' }, 'job_id'],
  ['a value of no run', values.setRunValue, { key: 'a', value: someValue }, 'run_id'],
  ['a value without a key', values.setRunValue, { runId: RUN_ID, value: someValue }, 'key'],
  ['a value of a malformed key', values.setRunValue, { runId: RUN_ID, key: 'a b', value: someValue }, 'key'],
  ['a key without a value', values.setRunValue, { runId: RUN_ID, key: 'a' }, 'value'],
  ['NUL in a value', values.setRunValue, { runId: RUN_ID, key: 'a', value: valueOf(['\0']) }, 'value[0]'],
  ['an oversize value', values.setRunValue, { runId: RUN_ID, key: 'a', value: valueOf('x'.repeat(65_535)) }, 'value'],
  [
    'a negative expected version',
    values.setRunValue,
    { runId: RUN_ID, key: 'a', value: someValue, expectedVersion: -1n },
    'expected_version',
  ],
  [
    'an expected version that is no number of ours',
    values.setRunValue,
    { runId: RUN_ID, key: 'a', value: someValue, expectedVersion: 2n ** 60n },
    'expected_version',
  ],
  ['a malformed key to read', values.getRunValue, { runId: RUN_ID, key: 'ä' }, 'key'],
  ['a malformed prefix', values.listRunValues, { runId: RUN_ID, prefix: 'a*' }, 'prefix'],
  ['a negative page of values', values.listRunValues, { runId: RUN_ID, pageSize: -1 }, 'page_size'],
  ['a long key to delete', values.deleteRunValue, { runId: RUN_ID, key: 'x'.repeat(129) }, 'key'],
  [
    'a deletion of what is not there',
    values.deleteRunValue,
    { runId: RUN_ID, key: 'a', expectedVersion: 0n },
    'expected_version',
  ],
  ['a start before time began', runs.createRun, { run: { source: byName, startTime: second(-1n) } }, 'run.start_time'],
  ['no schedule name', schedules.applySchedule, { spec: daily }, 'name'],
  ['a malformed schedule name', schedules.getSchedule, { name: 'Nightly!' }, 'name'],
  ['no spec', schedules.applySchedule, { name: 'a' }, 'spec.cron'],
  ['a schedule of nothing', schedules.applySchedule, { name: 'a', spec: { cron: ['@daily'] } }, 'spec.run'],
  ['a bad expression', schedules.applySchedule, { name: 'a', spec: { ...daily, cron: ['x'] } }, 'spec.cron[0]'],
  ['30 February', schedules.applySchedule, { name: 'a', spec: { ...daily, cron: ['0 0 30 2 *'] } }, 'spec.cron[0]'],
  ['no such time zone', schedules.applySchedule, { name: 'a', spec: { ...daily, timeZone: 'x' } }, 'spec.time_zone'],
  [
    'an end before the start',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, startTime: second(9n), endTime: second(8n) } },
    'spec.end_time',
  ],
  [
    'an unknown overlap policy',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, overlapPolicy: 9 } },
    'spec.overlap_policy',
  ],
  [
    'an unknown missed policy',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, missedPolicy: 9 } },
    'spec.missed_policy',
  ],
  [
    'a short catch-up window',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, catchUpWindow: second(59n) } },
    'spec.catch_up_window',
  ],
  [
    'a large catch-up',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, maxCatchUp: 101 } },
    'spec.max_catch_up',
  ],
  [
    'a trigger of its own',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, run: { source: byName, trigger: {} } } },
    'spec.run.trigger',
  ],
  [
    'a start of its own',
    schedules.applySchedule,
    { name: 'a', spec: { ...daily, run: { source: byName, startTime: second(1n) } } },
    'spec.run.start_time',
  ],
  ['a long reason for a pause', schedules.pauseSchedule, { name: 'a', reason: 'x'.repeat(1_025) }, 'reason'],
  [
    'a long request id of a trigger',
    schedules.triggerSchedule,
    { name: 'a', requestId: 'x'.repeat(129) },
    'request_id',
  ],
  ['a backfill without a begin', schedules.backfillSchedule, { name: 'a', endTime: second(1n) }, 'start_time'],
  [
    'a backfill that goes back',
    schedules.backfillSchedule,
    { name: 'a', startTime: second(2n), endTime: second(2n) },
    'end_time',
  ],
  [
    'a backfill of too much at a time',
    schedules.backfillSchedule,
    { name: 'a', startTime: second(1n), endTime: second(2n), maxParallel: 101 },
    'max_parallel',
  ],
  ['too many times to come', schedules.listOccurrences, { name: 'a', upcomingCount: 101 }, 'upcoming_count'],
  ['no driver name', drivers.getDriver, { instance: 'i' }, 'name'],
  ['a malformed instance', drivers.getDriver, { name: 'shell', instance: 'a b' }, 'instance'],
  ['a malformed pattern', drivers.drainDrivers, { name: 'shell-?' }, 'name'],
  ['a malformed pattern of instances', drivers.drainDrivers, { name: '*', instance: 'a b*' }, 'instance'],
  ['an unknown end of a drain', drivers.drainDrivers, { name: 'shell', onDeadline: 9 }, 'on_deadline'],
  ['an eviction that is undone', drivers.drainDrivers, { name: 'shell', undo: true, onDeadline: 2 }, 'on_deadline'],
  ['a pause of no driver', drivers.pauseQueue, {}, 'driver'],
  ['a pause of a malformed pipeline', drivers.pauseQueue, { driver: 'shell', pipeline: 'A b' }, 'pipeline'],
  ['a long actor of a pause', drivers.pauseQueue, { driver: 'shell', actor: 'x'.repeat(257) }, 'actor'],
  ['a malformed driver to resume', drivers.resumeQueue, { driver: 'A b' }, 'driver'],
  ['demand for a malformed driver', drivers.watchDemand, { drivers: ['shell', 'A b'] }, 'drivers[1]'],
  ['demand for too many drivers', drivers.watchDemand, { drivers: Array.from({ length: 101 }, () => 'd') }, 'drivers'],
  ['a long wait', drivers.drainDrivers, { name: 'shell', waitTimeout: { seconds: 3_601n } }, 'wait_timeout'],
];
