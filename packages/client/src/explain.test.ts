import { InstancesCause, JobStanding } from '@conveyor/protocol/conveyor/v1/blocker_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { refusal } from './testing/refusal.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

describe.each(doors)('an explanation over %s', (door) => {
  it('has what blocks a job, by kinds', async () => {
    const instances = { driver: 'shell', cause: InstancesCause.FULL, slots: 4 };
    await using server = await startScriptedServer((router) => {
      router.service(JobService, {
        explainJob({ jobId }) {
          if (jobId !== 'r.0') throw refusal('not_found', 'JOB_NOT_FOUND', 'there is no such job');
          const kind = { case: 'instances' as const, value: instances };
          return { jobId, standing: JobStanding.BLOCKED, blockers: [{ message: 'no free slot', kind }] };
        },
      });
    });
    const { jobs } = clientThrough(door, server);
    expect(await jobs.explain('r.0')).toMatchObject({
      jobId: 'r.0',
      standing: JobStanding.BLOCKED,
      blockers: [{ message: 'no free slot', kind: { case: 'instances', value: instances } }],
    });
    await expect(jobs.explain('r.1')).rejects.toMatchObject({ reason: 'JOB_NOT_FOUND' });
  });
});
