// Tells people what keeps a job from starting: one line for each piece.
import type { Blocker, Caveat, Explanation, InstancesBlocker, NamedJob, Requirement, Standing } from './blockers.ts';
import type { GateExpiry, LabelRule } from './definition.ts';
import { formatJobId } from './ids.ts';
import type { JobState } from './states.ts';

/** Jobs that are named in one line. */
const MOST_TOLD = 3;

export function blockerText(blocker: Blocker): string {
  switch (blocker.kind) {
    case 'DELAY':
      return `its run starts at ${timeText(blocker.untilMs)}`;
    case 'BACKOFF':
      return `backoff until ${timeText(blocker.untilMs)}`;
    case 'RUN_PAUSED':
      return `its run was paused${askedText(blocker.pause)}`;
    case 'HELD':
      return `${blocker.ofMatrix ? 'the job of its matrix is held' : 'held'}${askedText(blocker.hold)}`;
    case 'NEEDS':
      return `needs ${countText(blocker.open, 'job')} to finish: ${namesText(blocker.open, blocker.jobs)}`;
    case 'MATRIX': {
      const { name, underWay, limit, jobs, ahead } = blocker;
      return `matrix ${name} has ${underWay} of ${limit} cells under way at a time: ${namesText(underWay, jobs)}${aheadText(ahead, 'cell')}`;
    }
    case 'GATE': {
      const { approved, quorum, approvers, untilMs, onTimeout } = blocker;
      const who = approvers.length === 0 ? 'anybody' : `any of ${cut(approvers, approvers.length)}`;
      const end = untilMs === undefined ? '' : `; at ${timeText(untilMs)} it ${EXPIRIES[onTimeout]}`;
      return `${approved} of ${quorum} approvals, by ${who}${end}`;
    }
    case 'CELLS':
      return `${countText(blocker.open, 'cell')} to finish: ${namesText(blocker.open, blocker.jobs)}`;
    case 'CHILD_RUN': {
      const { run, pipeline } = blocker;
      return run === undefined
        ? `a run of ${pipeline} is being made`
        : `run ${run.runId} of ${pipeline} is ${run.state}`;
    }
    case 'GROUP': {
      const { key, limit, holding, holders, ahead } = blocker;
      const by = holders.length === 0 ? '' : ` by ${jobText(holding)} ${cut(holders.map(formatJobId), holding)}`;
      return `group ${key} ${holding}/${limit} held${by}${aheadText(ahead, 'job')}`;
    }
    case 'RATE': {
      const { key, cost, expectedMs, ahead } = blocker;
      return `rate limit ${key}: ${countText(cost, 'token')}, likely at ${timeText(expectedMs)}${aheadText(ahead, 'job')}`;
    }
    case 'QUEUE_PAUSED': {
      const { driver, pipeline, project } = blocker.pause;
      const of = pipeline !== '' ? ` for pipeline ${pipeline}` : project !== '' ? ` for project ${project}` : '';
      return `the queue of ${driver}${of} was paused${askedText(blocker.pause)}`;
    }
    case 'INSTANCES':
      return instancesText(blocker);
    case 'OFFER':
      return `offered to ${blocker.instance} at ${timeText(blocker.sinceMs)}: starts when that accepts it, until ${timeText(blocker.untilMs)}`;
  }
}

export function caveatText(caveat: Caveat): string {
  switch (caveat) {
    case 'CONDITION':
      return 'its condition is worked out when its needs have finished: it may be skipped';
    case 'OUTCOMES':
      return 'it will be skipped: it runs when all that it needs succeed, and not all of that has';
    case 'KEYS':
      return 'its concurrency group and rate limits are not known before its needs have finished';
    case 'SPEC':
      return 'its spec is not known before its needs have finished: instances whose schemas differ may not all take it';
    case 'REFUSED':
      return 'its group has no place for it: it fails rather than waits when it comes to that';
    case 'POOL':
      return 'too many attempts are under way to see who holds the slots of its pool: these may be taken';
  }
}

/** What is to be said at large, in one line. */
export function summaryText({ standing, blockers }: Explanation, state: JobState): string {
  if (standing !== 'BLOCKED') return told(standing, state);
  return blockers.length === 1 ? '1 thing keeps it from starting' : `${blockers.length} things keep it from starting`;
}

function told(standing: Exclude<Standing, 'BLOCKED'>, state: JobState): string {
  switch (standing) {
    case 'STARTING':
      return 'nothing blocks it: it is about to start';
    case 'BEGUN':
      return 'no driver runs it: it has begun, and waits for its end';
    case 'RUNNING':
      return 'it runs';
    case 'STOPPING':
      return 'it is being stopped, and does not start again';
    case 'FINISHED':
      return `it has finished: ${state}`;
  }
}

const EXPIRIES: Readonly<Record<GateExpiry, string>> = {
  FAIL: 'fails',
  APPROVE: 'is approved',
  SKIP: 'is skipped',
};

function instancesText(blocker: InstancesBlocker): string {
  const { driver, cause, connected, fitting, draining, full, passedOver, untilMs = 0, ahead } = blocker;
  const those = `${countText(fitting, 'instance')} of ${driver}`;
  const may = fitting === connected ? '' : ' that may take it';
  switch (cause) {
    case 'NONE_CONNECTED':
      return `no instance of ${driver} is connected`;
    case 'NONE_FITS':
      return `${countText(connected, 'instance')} of ${driver}, ${noneText(blocker)}`;
    case 'DRAINING':
      return `${those}${may} ${fitting === 1 ? 'drains' : 'all drain'}`;
    case 'FULL': {
      const slots = `${blocker.slots} ${blocker.slots === 1 ? 'slot' : 'slots'} taken`;
      const rest = draining === 0 ? '' : `, ${draining} of them draining`;
      return `${those}${may} ${fitting === 1 ? 'has' : 'have'} no free slot: ${slots}${rest}${aheadText(ahead, 'job')}`;
    }
    case 'PASSED_OVER': {
      const rest = draining + full === 0 ? '' : '; others drain or have no free slot';
      return `${countText(passedOver, 'instance')} of ${driver} sent it back: passed over until ${timeText(untilMs)}${rest}`;
    }
  }
}

function noneText({ connected, requirements }: InstancesBlocker): string {
  const missing = requirements.filter(({ instances }) => instances === 0);
  if (missing.length > 0) return `none ${missing.map(({ needed }) => withText(needed)).join(', none ')}`;
  const counted = requirements.filter(({ instances }) => instances < connected).map(partText);
  return `none with all that it asks for: ${counted.join(', ')}`;
}

function partText({ needed, instances }: Requirement): string {
  return `${instances} ${withText(needed)}`;
}

function withText(needed: Requirement['needed']): string {
  if (needed === 'SPEC') return 'whose schema takes its spec';
  return 'pool' in needed ? `with slots of pool ${needed.pool}` : labelText(needed);
}

function labelText({ key, operator, values }: LabelRule): string {
  const [value = ''] = values;
  switch (operator) {
    case 'EQUALS':
      return `with label ${key} = ${value}`;
    case 'IN':
      return `with label ${key} in (${values.join(', ')})`;
    case 'NOT_IN':
      return `with label ${key} not in (${values.join(', ')})`;
    case 'EXISTS':
      return `with label ${key}`;
    case 'NOT_EXISTS':
      return `without label ${key}`;
    case 'GREATER_THAN':
      return `with label ${key} > ${value}`;
    case 'LESS_THAN':
      return `with label ${key} < ${value}`;
  }
}

function askedText({ actor, reason, sinceMs }: { actor: string; reason: string; sinceMs: number }): string {
  const by = actor === '' ? '' : ` by ${actor}`;
  return `${by} at ${timeText(sinceMs)}${reason === '' ? '' : `: ${reason}`}`;
}

function namesText(count: number, jobs: readonly NamedJob[]): string {
  return cut(
    jobs.map(({ name, state }) => `${name} (${state})`),
    count,
  );
}

function cut(texts: readonly string[], count: number): string {
  const first = texts.slice(0, MOST_TOLD);
  const more = count - first.length;
  return `${first.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function aheadText(ahead: number, what: string): string {
  return ahead === 0 ? '' : `, ${countText(ahead, what)} ahead`;
}

function jobText(count: number): string {
  return count === 1 ? 'job' : 'jobs';
}

function countText(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
