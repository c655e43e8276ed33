// What the pipeline builder refuses, when it is compiled and when it is run.
import { describe, expect, it } from 'vitest';
import { type JobOptions, pipeline } from './pipeline-builder.ts';

describe('the pipeline builder', () => {
  it('tells all that is wrong with a job that no compiler has seen, and what there is instead', () => {
    const options: object = {
      driver: 7,
      when: 'sucess',
      need: ['build'],
      needs: ['biuld'],
      timeouts: { runTimeout: '10 minutes', silence: '1m' },
      retry: { workload: 1.5 },
      secrets: 'token',
      rateLimits: [{ key: 'a', limit: 1, period: 60 }],
      matrix: { axes: [1] },
    };
    const built = pipeline<string>('ci').job('build', { driver: 'shell' });
    const told = () => built.job('test', options as JobOptions<string>);
    expect(told).toThrow(TypeError);
    const lines = wrongOf(told);
    expect(lines[0]).toBe('job test of pipeline ci needs biuld, which no job before it is called');
    const fields = lines.slice(1).map((line) => line.replace('job test of pipeline ci: ', ''));
    expect(fields[0]).toMatch(/^need is no field here; these are: needs, when, .*stickyKey$/);
    expect(fields.slice(1)).toEqual([
      'driver must be a string; got 7',
      "when must be 'success' or 'always' or 'failure' or 'finally'; got 'sucess'",
      'retry.workload must be a whole number; got 1.5',
      expect.stringMatching(/^timeouts.silence is no field here; these are: .*silenceTimeout/),
      "timeouts.runTimeout must be a duration such as 250ms, 1.5s, 10m, 2h or 7d; got '10 minutes'",
      'secrets must be a list',
      'matrix.axes must be an object; got a list',
      'rateLimits[0].period must be a duration such as 250ms, 1.5s, 10m, 2h or 7d; got 60',
    ]);
    const shared: object = { label: {}, failFast: 'yes' };
    expect(wrongOf(() => pipeline('ci', shared))).toEqual([
      'pipeline ci: label is no field here; these are: paramsSchema, labels, stages, env, failFast',
      "pipeline ci: failFast must be a boolean; got 'yes'",
    ]);
    const noJson: object = { driver: 'shell', spec: { at: new Date(0), n: undefined } };
    expect(() => built.job('test', noJson as JobOptions<string>)).toThrow(/^job test of pipeline ci: /);
  });

  it('refuses a stage that the pipeline does not have, when compiled and when run', () => {
    const staged = pipeline('ci', { stages: ['check'] });
    // @ts-expect-error no stage is called 'chekc'
    expect(() => staged.job('test', { driver: 'shell', stage: 'chekc' })).toThrow(
      'job test is of stage chekc, which pipeline ci does not have',
    );
    // @ts-expect-error there are no stages
    expect(() => pipeline('ci').job('test', { driver: 'shell', stage: 'check' })).toThrow('of stage check');
    const named = pipeline<string>('ci', { stages: ['check'] });
    expect(named.job('test', { driver: 'shell', stage: 'check' }).definition.jobs[0]?.stage).toBe('check');
  });

  it('refuses a need that no earlier job has, when compiled and when run', () => {
    const ci = pipeline('ci').job('build', { driver: 'shell' });
    // @ts-expect-error no job is called 'biuld'
    expect(() => ci.job('test', { driver: 'shell', needs: ['biuld'] })).toThrow(
      'job test of pipeline ci needs biuld, which no job before it is called',
    );
  });

  it('refuses a name that an earlier job has, when compiled and when run', () => {
    const ci = pipeline('ci').job('build', { driver: 'shell' });
    // @ts-expect-error a job is called 'build' already
    expect(() => ci.job('build', { driver: 'shell' })).toThrow('pipeline ci already has a job build');
  });

  it('checks names that are only known when run', () => {
    let fanOut = pipeline<string>('fan-out').job('plan', { driver: 'shell' });
    for (const index of [1, 2]) fanOut = fanOut.job(`part-${index}`, { driver: 'shell', needs: ['plan'] });
    expect(fanOut.definition.jobs.map(({ name }) => name)).toEqual(['plan', 'part-1', 'part-2']);
    expect(() => fanOut.job('sum', { driver: 'shell', needs: ['part-3'] })).toThrow('needs part-3');
    expect(() => fanOut.job('plan', { driver: 'shell' })).toThrow('already has a job plan');
  });
});

function wrongOf(build: () => unknown): readonly string[] {
  try {
    build();
  } catch (error) {
    return String((error as Error).message).split('\n');
  }
  throw new Error('nothing was wrong');
}
