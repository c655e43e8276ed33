// Owns the walk through the whole contract: every method that reflection lists is called once with a request that makes sense,
// and its answer is looked into. A new method fails the walk until it has its place here.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { CallOptions, CallResult, Caller, Message } from './callers.ts';

/** Status codes of gRPC that the walk meets. */
const codes = { OK: 0, DEADLINE_EXCEEDED: 4, NOT_FOUND: 5 } as const;

/** Creates, reads and changes a little of everything, as an operator, in a project where nobody else works. */
export async function callEveryMethod(caller: Caller, options: CallOptions): Promise<void> {
  const called = new Set<string>();
  const call = async (
    method: string,
    request: Message | Message[],
    more: Partial<CallOptions> = {},
  ): Promise<CallResult> => {
    called.add(method);
    return await caller.call(`conveyor.v1.${method}`, [request].flat(), { ...options, ...more });
  };
  const ok = async (method: string, request: Message | Message[]): Promise<Message> => {
    const { code, reason, messages } = await call(method, request);
    assert.equal(code, codes.OK, `${method}: code ${code}, reason ${reason}`);
    return messages[0] ?? {};
  };
  const missing = async (method: string, request: Message, due: string): Promise<void> => {
    const { code, reason } = await call(method, request);
    assert.deepEqual({ code, reason }, { code: codes.NOT_FOUND, reason: due }, method);
  };

  const info = await ok('ServerService/GetServerInfo', {});
  assert.match(text(info, 'version'), /^\d+\.\d+\.\d+/);

  const name = `every-method-${randomUUID().slice(0, 8)}`;
  const job = { name: 'wait', driver: 'nobody-serves-this', spec: { deep: [1, { two: true }] } };
  const applied = await ok('PipelineService/ApplyPipeline', { name, definition: { jobs: [job] } });
  assert.equal(read(applied, 'pipeline', 'revision'), 1);
  const got = await ok('PipelineService/GetPipeline', { name });
  assert.deepEqual(read(got, 'pipeline', 'definition', 'jobs', 0, 'spec'), job.spec);
  const pipelines = await ok('PipelineService/ListPipelines', {});
  assert.ok(list(pipelines, 'pipelines').some((pipeline) => pipeline['name'] === name));
  const revisions = await ok('PipelineService/ListPipelineRevisions', { name });
  assert.equal(list(revisions, 'revisions').length, 1);
  const compared = await ok('PipelineService/DiffPipelineRevisions', { name, fromRevision: 1 });
  assert.deepEqual([read(compared, 'toRevision'), read(compared, 'diff', 'changeCount') ?? 0], [1, 0]);

  const labels = { walk: name };
  const created = await ok('RunService/CreateRun', { run: { pipeline: { name }, labels }, requestId: name });
  const runId = text(created, 'run', 'runId');
  const batch = { items: [{ run: { pipeline: { name } } }, { run: { pipeline: { name: 'no-such-pipeline' } } }] };
  const results = list(await ok('RunService/BatchCreateRuns', batch), 'results');
  assert.ok(text(results[0], 'runId'));
  assert.equal(read(results[1], 'error', 'reason'), 'ERROR_REASON_PIPELINE_NOT_FOUND');
  const planned = await ok('RunService/PlanRun', {
    run: { pipeline: { name } },
    assumed: { wait: { outcome: 'JOB_STATE_FAILED' } },
  });
  assert.deepEqual([text(planned, 'state'), text(list(planned, 'jobs')[0], 'name')], ['RUN_STATE_FAILED', 'wait']);
  assert.equal(text(await ok('RunService/GetRun', { runId }), 'run', 'state'), 'RUN_STATE_PENDING');
  assert.equal(list(await ok('RunService/ListRuns', { filter: { labels } }), 'runs').length, 1);
  // It never ends by itself, so the deadline is its end.
  const watched = await call('RunService/WatchRuns', { filter: { labels } }, { deadlineS: 2 });
  assert.equal(watched.code, codes.DEADLINE_EXCEEDED);
  assert.ok(watched.messages.some((message) => message['snapshotComplete'] === true));

  const jobs = list(await ok('JobService/ListJobs', { runId }), 'jobs');
  const jobId = text(jobs[0], 'jobId');
  assert.equal(text(await ok('JobService/GetJob', { jobId }), 'job', 'state'), 'JOB_STATE_QUEUED');
  assert.equal(list(await ok('JobService/ListAttempts', { jobId }), 'attempts').length, 0);
  await missing('JobService/ReadLog', { jobId }, 'ATTEMPT_NOT_FOUND');
  const explained = await ok('JobService/ExplainJob', { jobId });
  const [blocker] = list(explained, 'blockers');
  assert.equal(text(blocker, 'instances', 'cause'), 'INSTANCES_CAUSE_NONE_CONNECTED');
  assert.equal(text(blocker, 'message'), 'no instance of nobody-serves-this is connected');
  const held = await ok('JobService/HoldJob', { jobId, reason: 'not yet', actor: 'walker' });
  assert.equal(text(held, 'job', 'wait', 'reason'), 'WAIT_REASON_HELD');
  const released = await ok('JobService/ReleaseJob', { jobId });
  assert.equal(text(released, 'job', 'state'), 'JOB_STATE_QUEUED');
  const paused = await ok('RunService/PauseRun', { runId, reason: 'not yet', actor: 'walker' });
  assert.equal(text(paused, 'run', 'pause', 'actor'), 'walker');
  const resumed = await ok('RunService/ResumeRun', { runId });
  assert.equal(read(resumed, 'run', 'pause') ?? undefined, undefined);
  const asked = { name: 'ask', gate: { quorum: 2 } };
  const gated = await ok('JobService/CreateJob', { job: asked });
  const answer = { jobId: text(gated, 'job', 'jobId'), verdict: 'GATE_VERDICT_APPROVE', actor: 'walker' };
  const answered = await ok('JobService/AnswerGate', { ...answer, groups: ['walkers'], answers: { deep: [1] } });
  assert.deepEqual(read(answered, 'job', 'gateAnswers', 0, 'answers'), { deep: [1] });
  assert.equal(text(answered, 'job', 'wait', 'reason'), 'WAIT_REASON_APPROVAL');
  assert.equal(list(await ok('RunService/ListRunArtifacts', { runId, job: 'wait' }), 'artifacts').length, 0);
  const key = 'gate';
  const set = await ok('RunValueService/SetRunValue', { runId, key, value: { open: [true] }, expectedVersion: '0' });
  assert.equal(read(set, 'version'), '1');
  const value = await ok('RunValueService/GetRunValue', { runId, key });
  assert.deepEqual(read(value, 'value', 'value'), { open: [true] });
  assert.equal(list(await ok('RunValueService/ListRunValues', { runId, prefix: 'ga' }), 'values').length, 1);
  await ok('RunValueService/DeleteRunValue', { runId, key, expectedVersion: '1' });
  await missing('RunValueService/GetRunValue', { runId, key }, 'VALUE_NOT_FOUND');
  const single = await ok('JobService/CreateJob', { job });
  const cancelled = await ok('JobService/CancelJob', { jobId: text(single, 'job', 'jobId'), reason: 'not wanted' });
  assert.equal(text(cancelled, 'job', 'state'), 'JOB_STATE_CANCELLED');

  const stopped = await ok('RunService/CancelRun', { runId });
  assert.equal(text(stopped, 'run', 'state'), 'RUN_STATE_CANCELLED');
  await missing('JobService/TailLog', { jobId }, 'ATTEMPT_NOT_FOUND');
  const { messages } = await call('RunService/WatchRun', { runId });
  const events = messages.flatMap((message) => list(message, 'events'));
  assert.deepEqual(
    events.map((event) => Number(event['seq'])),
    events.map((_, n) => n + 1),
  );
  assert.ok(events.at(-1)?.['runFinished'] !== undefined);
  const rerun = await ok('RunService/RerunRun', { runId });
  assert.equal(read(rerun, 'run', 'rerunOf'), runId);
  const retried = await ok('JobService/RetryJob', { jobId });
  assert.notEqual(text(retried, 'job', 'runId'), runId);

  const past = await ok('RunService/GetRun', { runId, atSeq: '1' });
  assert.deepEqual([text(past, 'run', 'state'), read(past, 'run', 'seq')], ['RUN_STATE_PENDING', '1']);
  const pastJobs = list(await ok('JobService/ListJobs', { runId, atSeq: '1' }), 'jobs');
  assert.equal(text(pastJobs[0], 'state'), 'JOB_STATE_QUEUED');
  const diff = await ok('RunService/DiffRun', { runId, fromSeq: '1' });
  assert.equal(text(list(diff, 'jobs')[0], 'after', 'state'), 'JOB_STATE_CANCELLED');
  const verified = await ok('RunService/VerifyRun', { runId });
  assert.deepEqual([read(verified, 'verified', 'jobs'), list(verified, 'discrepancies')], ['1', []]);
  await ok('RunService/DeleteRun', { runId });
  await missing('RunService/DeleteRun', { runId }, 'RUN_NOT_FOUND');

  const grouped = { name: 'job', driver: 'every-method', concurrency: { key: name } };
  await ok('JobService/CreateJob', { job: grouped });
  const listed = list(await ok('JobService/ListConcurrencyGroups', { pageSize: 1_000 }), 'groups');
  assert.ok(listed.some(({ key }) => key === name));
  const group = await ok('JobService/GetConcurrencyGroup', { key: name });
  assert.deepEqual([text(group, 'group', 'key'), list(group, 'members').length], [name, 1]);

  const hello = {
    protocolVersion: 1,
    driver: 'every-method',
    instanceId: name,
    incarnation: Buffer.from(randomUUID()).toString('base64'),
    slots: 1,
  };
  // An orderly leave ends the stream with OK; a stream that only closes says nothing.
  const session = await call('DriverService/Session', [{ frames: [{ hello }] }, { frames: [{ goodbye: {} }] }]);
  assert.equal(session.code, codes.OK, `Session: code ${session.code}, reason ${session.reason}`);
  const welcome = read(session.messages[0], 'frames', 0, 'welcome');
  assert.equal(read(welcome, 'epoch'), '1');
  const instance = { name: hello.driver, instance: name };
  assert.equal(text(await ok('DriverService/GetDriver', instance), 'driver', 'state'), 'DRIVER_STATE_GONE');
  const drivers = await ok('DriverService/ListDrivers', { name: hello.driver, includeGone: true });
  assert.ok(list(drivers, 'drivers').some((driver) => driver['instance'] === name));
  assert.equal(read(await ok('DriverService/DrainDrivers', instance), 'idle'), true);
  const queue = { driver: hello.driver, pipeline: name };
  const queuePause = await ok('DriverService/PauseQueue', { ...queue, reason: 'walking' });
  assert.equal(text(queuePause, 'pause', 'reason'), 'walking');
  const queues = list(await ok('DriverService/ListQueues', {}), 'queues');
  assert.ok(queues.some(({ driver }) => driver === hello.driver));
  const demand = await call('DriverService/WatchDemand', { drivers: [hello.driver] }, { deadlineS: 2 });
  assert.equal(demand.code, codes.DEADLINE_EXCEEDED);
  assert.ok(demand.messages.some((message) => message['snapshotComplete'] === true));
  assert.equal(read(await ok('DriverService/ResumeQueue', queue), 'resumed'), true);

  const spec = { run: { pipeline: { name } }, cron: ['@yearly'] };
  const scheduled = await ok('ScheduleService/ApplySchedule', { name, spec });
  assert.ok(text(scheduled, 'schedule', 'nextTime'));
  const schedules = list(await ok('ScheduleService/ListSchedules', {}), 'schedules');
  assert.ok(schedules.some((schedule) => schedule['name'] === name));
  const pausedSchedule = await ok('ScheduleService/PauseSchedule', { name, reason: 'walking' });
  assert.equal(read(pausedSchedule, 'schedule', 'paused'), true);
  await ok('ScheduleService/ResumeSchedule', { name });
  const triggered = await ok('ScheduleService/TriggerSchedule', { name, requestId: name });
  assert.equal(text(triggered, 'occurrence', 'state'), 'SCHEDULE_OCCURRENCE_STATE_STARTED');
  const years = { startTime: '2020-06-01T00:00:00Z', endTime: '2022-06-01T00:00:00Z' };
  assert.equal(read(await ok('ScheduleService/BackfillSchedule', { name, ...years }), 'queued'), 2);
  const occurrences = await ok('ScheduleService/ListOccurrences', { name, upcomingCount: 3 });
  assert.equal((read(occurrences, 'upcomingTimes') as unknown[]).length, 3);
  assert.equal(list(occurrences, 'occurrences').length, 3);
  assert.equal(text(await ok('ScheduleService/GetSchedule', { name }), 'schedule', 'name'), name);
  await ok('ScheduleService/DeleteSchedule', { name });
  await missing('ScheduleService/GetSchedule', { name }, 'SCHEDULE_NOT_FOUND');

  await ok('PipelineService/DeletePipeline', { name });
  await missing('PipelineService/GetPipeline', { name }, 'PIPELINE_NOT_FOUND');

  assert.deepEqual([...called].toSorted(), (await listEveryMethod(caller, options)).toSorted());
}

/** `Service/Method` of the contract, as the server lists them. */
async function listEveryMethod(caller: Caller, options: CallOptions): Promise<string[]> {
  const services = (await caller.listServices(options)).filter((service) => service.startsWith('conveyor.v1.'));
  const methods = services.map(async (service) => {
    const names = await caller.listMethods(service, options);
    return names.map((method) => `${service.slice('conveyor.v1.'.length)}/${method}`);
  });
  return (await Promise.all(methods)).flat();
}

function read(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<string | number, unknown> | undefined)?.[key], value);
}

function text(value: unknown, ...path: string[]): string {
  const found = read(value, ...path);
  assert.equal(typeof found, 'string', `${path.join('.')} of ${JSON.stringify(value)}`);
  return String(found);
}

// An empty list is left out of JSON.
function list(value: unknown, field: string): Message[] {
  return (read(value, field) ?? []) as Message[];
}
