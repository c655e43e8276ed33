import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Demand, LabelOperator } from '@conveyor/client';
import { DemandSchema } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
import { describe, expect, it } from 'vitest';
import { demandTable, demandText } from './demand-text.ts';
import { run, start } from './testing/run-command.ts';
import { startScriptedPlane } from './testing/scripted-plane.ts';

describe('conveyor get demand', () => {
  it('shows what is queued, and asks for the drivers that are named', async () => {
    await using plane = await startScriptedPlane();
    const { exitCode, stdout } = await run(['get', 'demand'], plane.env);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n').map((line) => line.replaceAll(/ +/g, ' '))).toEqual([
      'DRIVER QUEUED PAUSED OLDEST INSTANCES FREE HELD ASKS FOR',
      'build 10000 or more 0 0 0/0 0 arch=arm64, pool gpu',
      'shell 2 1 1 1/4 3',
      '',
    ]);
    const json = await run(['get', 'demand', 'shell', '-o', 'json'], plane.env);
    expect(JSON.parse(json.stdout)).toMatchObject([{ driver: 'shell', queued: 2, freeSlots: 1 }]);
  });

  it('fails when there is no server, rather than wait for one', async () => {
    const result = await run(['get', 'demand'], { CONVEYOR_ADDRESS: '127.0.0.1:1' });
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toMatch(/^error: cannot reach the server at 127\.0\.0\.1:1/);
  });

  it('--watch tells each change until Ctrl-C, as text and as an object a line', async () => {
    await using plane = await startScriptedPlane();
    await using text = start(['get', 'demand', 'shell', '--watch'], plane.env);
    await text.said('0 queued; ');
    text.process.kill('SIGINT');
    expect(await text.result).toEqual({
      exitCode: 130,
      stdout:
        'shell: 2 queued, 1 paused; 1 instance, 1 of 4 slots free, 3 held\nshell: 0 queued; 1 instance, 4 of 4 slots free, 0 held\n',
      stderr: '',
    });
    await using json = start(['get', 'demand', 'shell', '-w', '-o', 'json'], plane.env);
    await json.said('true');
    json.process.kill('SIGINT');
    const lines = (await json.result).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { demand: { driver: 'shell', queued: 2 }, ended: false },
      { demand: { driver: 'shell', queued: 0 }, ended: true },
    ]);
  });
});

describe('demand', () => {
  /** Of an operator that is not known here. */
  const newer: number = 99;
  const rules: readonly (readonly [LabelOperator, readonly string[], string])[] = [
    [LabelOperator.UNSPECIFIED, ['x'], 'k=x'],
    [LabelOperator.IN, ['x', 'y'], 'k in (x, y)'],
    [LabelOperator.NOT_IN, ['x'], 'k not in (x)'],
    [LabelOperator.EXISTS, [], 'has k'],
    [LabelOperator.NOT_EXISTS, [], 'has no k'],
    [LabelOperator.GREATER_THAN, ['4'], 'k>4'],
    [LabelOperator.LESS_THAN, ['4'], 'k<4'],
    [newer, ['x'], 'k 99 (x)'],
  ];
  const demand = (init: MessageInitShape<typeof DemandSchema>): Demand => create(DemandSchema, init);

  it.each(rules)('with a rule of operator %s is shown by it', (operator, values, shown) => {
    const asking = demand({ driver: 'd', required: [{ key: 'k', operator, values: [...values] }] });
    expect(demandText(asking)).toBe(`d ${shown}: 0 queued; 0 instances, 0 of 0 slots free, 0 held`);
    expect(demandTable([asking])).toMatch(new RegExp(` ${shown.replaceAll(/[()]/g, '\\$&')}$`));
  });
});
