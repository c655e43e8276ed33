// A plan fits a response whatever is in it, over either door, and says what it leaves out.
import { create, toBinary, toJson } from '@bufbuild/protobuf';
import { PlanRunResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { expect, test } from 'vitest';
import { LIMITS } from '../core/limits.ts';
import { compilePlan } from '../core/plan.ts';
import type { RunPlanView } from '../core/run-plan.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { encodeRunPlan } from './encode-run-plan.ts';

function planOf(count: number, specBytes: number): RunPlanView {
  const name = (n: number): string => `${n}-`.padEnd(162, 'x');
  const plan = compilePlan(definitionOf(...Array.from({ length: count }, (_, n) => jobNamed(name(n)))));
  const spec = { numbers: Array.from({ length: specBytes / 2 }, () => 1) };
  return {
    plan,
    jobs: plan.jobs.map((job) => ({ job, fate: 'RUNS', state: 'SUCCEEDED', spec, wave: 9_999 })),
    drivers: Array.from({ length: 1_000 }, (_, n) => ({
      name: name(n),
      connected: 1,
      ready: 1,
      freeSlots: 1,
      jobs: 1,
    })),
    path: { steps: plan.jobs.map((job) => ({ name: job.name, durationMs: 1_234 })), totalMs: 1 },
    durations: new Map(),
    warnings: Array.from({ length: 100 }, () => 'x'.repeat(2_000)),
  };
}

async function sent(plan: RunPlanView) {
  const response = create(PlanRunResponseSchema, await encodeRunPlan(plan));
  expect(toBinary(PlanRunResponseSchema, response).length).toBeLessThan(LIMITS.responseBytes);
  expect(JSON.stringify(toJson(PlanRunResponseSchema, response)).length).toBeLessThan(LIMITS.responseBytes);
  return response;
}

test.each([
  [10_000, 10],
  [1_000, 40_000],
])('%i jobs with specs of %i bytes fit, without the details of some', async (count, specBytes) => {
  const { jobs, detailsOmitted } = await sent(planOf(count, specBytes));
  expect(jobs.length).toBe(count);
  expect(detailsOmitted).toBe(true);
  expect(jobs[0]).toMatchObject({ detailsOmitted: false, driver: 'shell' });
  expect(jobs.at(-1)).toMatchObject({ detailsOmitted: true, driver: '', wave: 9_999, prediction: 1 });
});

test('the group of a job is sent with what it is like now', async () => {
  const plan = planOf(1, 2);
  const [job] = plan.jobs;
  const group = { group: { key: 'g', limit: 3 }, groupNow: { holding: 2, waiting: 1, isFull: true } };
  const { jobs } = await sent({ ...plan, jobs: [{ ...job!, ...group, rates: [{ key: 'r', limit: 7 }] }] });
  expect(jobs).toMatchObject([
    {
      concurrencyGroup: { key: 'g', limit: 3, holdingCount: 2, waitingCount: 1, full: true },
      rateLimits: [{ key: 'r', limit: 7 }],
    },
  ]);
});

test('a plan of usual size is sent as a whole', async () => {
  const { jobs, detailsOmitted } = await sent(planOf(500, 200));
  expect(detailsOmitted).toBe(false);
  expect(jobs.every((job) => job.driver === 'shell' && !job.detailsOmitted)).toBe(true);
});
