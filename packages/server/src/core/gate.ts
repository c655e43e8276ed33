// Decisions on gates: people answer, a quorum opens one, a rejection closes it, and so may time.
import { beginning, jsonBytes } from './check-fields.ts';
import type { Command, Reply } from './commands.ts';
import type { Gate } from './definition.ts';
import { formDefaults } from './gate-form.ts';
import { canonicalJson, type JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { plannedJob } from './plan.ts';
import { DONE, refuse } from './replies.ts';
import { type GateAnswer, type JobRecord, jobOf } from './run-state.ts';
import { type Draft, emit } from './draft.ts';
import { concludeJob } from './settle.ts';
import { isJobFinished } from './states.ts';

type Answer = Extract<Command, { type: 'AnswerGate' }>;

export function answerGate(draft: Draft, command: Answer): Reply {
  const { job: index, actor, verdict, answers, comment, groups, defaults = {} } = command;
  const job = jobOf(draft, index);
  const planned = plannedJob(draft.plan, index);
  const { gate } = planned.definition;
  if (gate === undefined) return refuse('NOT_A_GATE', `${planned.name} is no gate: nobody can answer it`);
  if (!mayAnswer(gate, actor, groups)) {
    const who = gate.approvers.join(', ');
    return refuse('NOT_AN_APPROVER', `${actor} is none of those who may answer ${planned.name}: ${who}`);
  }
  if (isRepeated(job, command)) return DONE;
  if (isJobFinished(job.state)) return refuse('ALREADY_FINISHED', `the gate has already finished: ${job.state}`);
  if (job.state !== 'WAITING' || job.wait.reason !== 'APPROVAL') {
    return refuse('NOT_WAITING', `the gate does not wait for answers yet: it is ${job.state}`);
  }
  const others = givenTo(job).filter((given) => given.actor !== actor);
  const bytes = jsonBytes([...others.map((given) => given.answers), answers, defaults]);
  if (bytes > LIMITS.gateAnswersBytes) {
    const message = `with these the answers to the gate are ${bytes} bytes as JSON, at most ${LIMITS.gateAnswersBytes} are allowed`;
    const metadata = { limit: 'gate_answers_bytes', max: String(LIMITS.gateAnswersBytes) };
    return { type: 'Refused', refusal: { refused: 'LIMIT_REACHED', message, metadata } };
  }
  emit(draft, { type: 'GateAnswered', job: index, actor, verdict, answers, comment });
  settleGate(draft, index, gate, defaults);
  return DONE;
}

/** Nobody, or not enough, answered in time. */
export function expireGate(draft: Draft, index: number): void {
  const { gate } = plannedJob(draft.plan, index).definition;
  switch (gate?.onTimeout) {
    case undefined:
    case 'FAIL': {
      const message = 'it was not approved in time';
      return concludeJob(draft, index, { state: 'FAILED', failure: { class: 'TIMEOUT', message } });
    }
    case 'APPROVE':
      return open(draft, index, formDefaults(gate.formSchema));
    case 'SKIP':
      return concludeJob(draft, index, { state: 'SKIPPED' });
  }
}

function mayAnswer({ approvers }: Gate, actor: string, groups: readonly string[]): boolean {
  return approvers.length === 0 || [actor, ...groups].some((name) => approvers.includes(name));
}

function isRepeated(job: JobRecord, { actor, verdict, answers, comment }: Answer): boolean {
  const given = givenTo(job).find((answer) => answer.actor === actor);
  if (given === undefined || given.verdict !== verdict || given.comment !== comment) return false;
  return canonicalJson(given.answers) === canonicalJson(answers);
}

function settleGate(draft: Draft, index: number, { quorum }: Gate, defaults: JsonObject): void {
  const answers = givenTo(jobOf(draft, index));
  const rejected = answers.find(({ verdict }) => verdict === 'REJECT');
  if (rejected !== undefined) {
    const why = rejected.comment === '' ? '' : `: ${rejected.comment}`;
    const message = beginning(`${rejected.actor} rejected it${why}`, 1_024);
    concludeJob(draft, index, { state: 'FAILED', failure: { class: 'WORKLOAD', message } });
  } else if (answers.length >= quorum) open(draft, index, defaults);
}

/** Defaults fill in what is in no answer: who left it out has not said anything against who did not. */
function open(draft: Draft, index: number, defaults: JsonObject): void {
  const written = givenTo(jobOf(draft, index)).flatMap(({ answers }) => Object.entries(answers));
  const outputs: JsonObject = Object.fromEntries([...Object.entries(defaults), ...written]);
  const told = Object.keys(outputs).length > 0 && { outputs };
  concludeJob(draft, index, { state: 'SUCCEEDED', ...told });
}

function givenTo(job: JobRecord): readonly GateAnswer[] {
  return job.details?.answers ?? [];
}
