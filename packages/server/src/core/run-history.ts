// Runs and jobs as readers see them at a point of the ledger, and what differs between two. What of a run never changes is taken from
// how it is now; everything else is what the replay says.
import type { RunId } from './ids.ts';
import { canonicalJson } from './json.ts';
import { detailsView, plannedView, waitView } from './job-view.ts';
import { type Plan, plannedJob } from './plan.ts';
import type { RunPoint } from './replay.ts';
import { type JobRecord, liveOf } from './run-state.ts';
import type { Slices } from './slices.ts';
import type { JobChangeView, JobPointView, JobView, Outputs, RunView } from './views.ts';

export function runViewAt(now: RunView, { run }: RunPoint): RunView {
  const { cancelReason: _cancel, pause: _pause, startedMs: _started, finishedMs: _finished, ...always } = now;
  return {
    ...always,
    state: run.state,
    counts: run.counts,
    seq: run.seq,
    ...(run.cancel !== undefined && { cancelReason: run.cancel.reason }),
    ...(run.pause !== undefined && { pause: run.pause }),
    ...(run.startedMs !== undefined && { startedMs: run.startedMs }),
    ...(run.finishedMs !== undefined && { finishedMs: run.finishedMs }),
  };
}

/** @param outputs Of the attempt that concluded it. */
export function jobViewAt(
  { runId, project }: { readonly runId: RunId; readonly project: string },
  { plan }: RunPoint,
  job: number,
  record: JobRecord,
  outputs: Outputs | undefined,
): JobView {
  const finished = 'finishedMs' in record ? record : undefined;
  const shown = finished?.outputs ?? outputs;
  return {
    project,
    runId,
    job,
    ...plannedView(plan, job),
    ...jobPointView(plan, job, record),
    ...(record.details !== undefined && detailsView(plan, job, record.details)),
    failureAllowed: finished?.failureAllowed === true,
    ...(shown !== undefined && { outputs: shown }),
    ...(record.startedMs !== undefined && { startedMs: record.startedMs }),
    ...(finished !== undefined && { finishedMs: finished.finishedMs }),
    ...(finished?.inheritedFrom !== undefined && { inheritedFrom: finished.inheritedFrom }),
  };
}

/** The jobs that two points of a run show differently, in their order. Each is a slice. */
export function* jobChanges(runId: RunId, from: RunPoint, to: RunPoint): Slices<JobChangeView[]> {
  const changes: JobChangeView[] = [];
  for (const [job, record] of to.jobs) {
    const earlier = from.jobs.get(job);
    if (earlier === record && from.told.get(job) === to.told.get(job)) continue;
    yield;
    const changedFields =
      earlier === undefined ? [] : fieldsChanged(shownOf(from, job, earlier), shownOf(to, job, record));
    if (earlier !== undefined && changedFields.length === 0) continue;
    const before = earlier && jobPointView(from.plan, job, earlier);
    const { name } = plannedJob(to.plan, job);
    const after = jobPointView(to.plan, job, record);
    changes.push({ runId, job, name, after, changedFields, ...(before !== undefined && { before }) });
  }
  return changes.sort((a, b) => a.job - b.job);
}

type Shown = Readonly<Record<string, unknown>>;

function fieldsChanged(before: Shown, after: Shown): readonly string[] {
  return Object.keys(after).filter((field) => {
    const [one, other] = [before[field], after[field]];
    return one !== other && canonicalJson(one ?? null) !== canonicalJson(other ?? null);
  });
}

/** All that readers are shown of a job and that may change, by the names of the contract: of what events hold, which do. */
function shownOf({ plan, outputs, told }: RunPoint, job: number, record: JobRecord): Shown {
  const { wait, ...point } = jobPointView(plan, job, record);
  const { condition, expressionFailures, answers, childRun, cancelReason, group, rates } = detailsView(
    plan,
    job,
    record.details ?? {},
  );
  const finished = 'finishedMs' in record ? record : undefined;
  const { artifacts, artifactCount, annotation } = told.get(job) ?? {};
  return {
    state: point.state,
    // What is still to be waited for behind a wait is not shown.
    wait: wait && [wait.reason, wait.untilMs ?? ('expectedMs' in wait ? wait.expectedMs : undefined) ?? 0],
    attempt: point.attempt,
    failure: point.failure,
    outputs: finished && (finished.outputs ?? outputs.get(job)),
    failure_allowed: finished?.failureAllowed === true,
    start_time: record.startedMs,
    finish_time: finished?.finishedMs,
    stop: point.stop,
    hold: point.hold,
    condition,
    gate_answers: answers,
    child_run_id: childRun,
    cancel_reason: cancelReason,
    artifacts: artifacts && [artifacts[0] ?? 0, artifactCount ?? 0],
    concurrency_group: group?.key,
    concurrency_limit: group?.limit,
    rate_limits: rates,
    max_parallel: plannedJob(plan, job).maxParallel,
    spec: record.details?.spec,
    expression_failures: expressionFailures?.first,
    expression_failure_count: expressionFailures?.count,
    annotations: annotation,
  };
}

function jobPointView(plan: Plan, job: number, record: JobRecord): JobPointView {
  const stop = liveOf(record)?.stop;
  return {
    state: record.state,
    attempt: record.attempt,
    ...('wait' in record && { wait: waitView(plan, job, record.wait) }),
    ...(record.hold !== undefined && { hold: record.hold }),
    ...(stop !== undefined && { stop }),
    ...('failure' in record && record.failure !== undefined && { failure: record.failure }),
  };
}
