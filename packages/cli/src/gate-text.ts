// Owns how gates are told to people: what they ask and of whom, who answered, and how to answer.
import { durationMs } from '@bufbuild/protobuf/wkt';
import { type Gate, GateExpiry, GateVerdict, type Job, JobState, WaitReason } from '@conveyor/client';
import { clipped, duration, enumName, printable, shellWord, table, time } from './text.ts';

/** Whether people can answer it now. */
export function asksForAnswers({ state, wait }: Pick<Job, 'state' | 'wait'>): boolean {
  return state === JobState.WAITING && wait?.reason === WaitReason.APPROVAL;
}

/** The commands that answer a gate, with what its form has to have. */
export function answerCommands(runId: string, jobName: string, gate: Gate | undefined): string {
  const target = shellWord(`${runId}/${jobName}`);
  const answers = requiredAnswers(gate).map((key) => ` --answer ${shellWord(printable(key))}=VALUE`);
  return `conveyor gate approve ${target} --actor NAME${answers.join('')}, or conveyor gate reject ${target} --actor NAME`;
}

/** How many have approved, of how many that have to. */
export function approvals({ gateAnswers }: Pick<Job, 'gateAnswers'>, gate: Gate | undefined): string {
  const approved = gateAnswers.filter(({ verdict }) => verdict === GateVerdict.APPROVE).length;
  return `${approved} of ${gate?.quorum || 1}`;
}

/** What is to be said of a gate, by name; what becomes of it unanswered only where nothing else tells what it waits for. */
export function gateFields(job: Job, isExplained: boolean): readonly (readonly [name: string, value: string])[] {
  const { definition, wait, matrixJob, finishTime } = job;
  const gate = definition?.gate;
  if (gate === undefined) return [];
  return [
    ['Asks', gate.message],
    ['May answer', gate.approvers.length === 0 ? 'anybody' : gate.approvers.join(', ')],
    // Of a matrix of gates, each cell is answered.
    ['Approved', definition?.matrix !== undefined && matrixJob === '' ? '' : approvals(job, gate)],
    ['Unanswered', isExplained || finishTime !== undefined ? '' : expiryText(gate, wait)],
  ];
}

/** Who answered what; empty before anybody did. */
export function answerTable({ gateAnswers }: Job): string {
  if (gateAnswers.length === 0) return '';
  return table(
    ['ANSWER', 'BY', 'TIME', 'FILLED IN', 'COMMENT'],
    gateAnswers.map(({ verdict, actor, time: given, answers = {}, comment }) => [
      enumName(GateVerdict, verdict),
      actor,
      time(given),
      Object.keys(answers).length === 0 ? '' : clipped(JSON.stringify(answers), 100),
      comment,
    ]),
  );
}

function requiredAnswers(gate: Gate | undefined): readonly string[] {
  const required = gate?.formSchema?.['required'];
  return Array.isArray(required) ? required.filter((key) => typeof key === 'string') : [];
}

function expiryText({ timeout, onTimeout }: Gate, wait: Job['wait']): string {
  if (timeout === undefined) return '';
  const limit = wait?.untilTime === undefined ? `after ${duration(durationMs(timeout))}` : `at ${time(wait.untilTime)}`;
  return `${limit} it ${expiries[onTimeout]}`;
}

const expiries = {
  [GateExpiry.UNSPECIFIED]: 'fails',
  [GateExpiry.FAIL]: 'fails',
  [GateExpiry.APPROVE]: 'succeeds',
  [GateExpiry.SKIP]: 'is skipped',
};
