import { GateVerdict } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { type AnswerGateRequest, JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { refusal } from './testing/refusal.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

describe.each(doors)('a gate over %s', (door) => {
  it('is answered in the name of somebody, and answers with how it is then', async () => {
    const asked: AnswerGateRequest[] = [];
    await using server = await startScriptedServer((router) => {
      router.service(JobService, {
        answerGate(request) {
          asked.push(request);
          if (request.actor === 'eve')
            throw refusal('permission_denied', 'NOT_AN_APPROVER', 'eve is none of those who may answer');
          return { job: { gateAnswers: [{ actor: request.actor, verdict: request.verdict }] } };
        },
      });
    });
    const { jobs } = clientThrough(door, server);
    const answers = { ticket: 'OPS-7' };
    await jobs.answerGate('r.0', { verdict: 'approve', actor: 'ada', groups: ['release'], answers, comment: 'fine' });
    const { gateAnswers } = await jobs.answerGate('r.0', { verdict: 'reject', actor: 'bob' });
    expect(gateAnswers).toMatchObject([{ actor: 'bob', verdict: GateVerdict.REJECT }]);
    expect(asked).toMatchObject([
      { jobId: 'r.0', verdict: GateVerdict.APPROVE, actor: 'ada', groups: ['release'], answers, comment: 'fine' },
      { jobId: 'r.0', verdict: GateVerdict.REJECT, actor: 'bob', groups: [], comment: '' },
    ]);
    const refused = jobs.answerGate('r.0', { verdict: 'approve', actor: 'eve' });
    await expect(refused).rejects.toMatchObject({ reason: 'NOT_AN_APPROVER' });
  });
});
