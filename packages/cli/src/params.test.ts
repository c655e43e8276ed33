import { describe, expect, it } from 'vitest';
import { UsageError } from './failure.ts';
import { parseLabels, parseParams } from './params.ts';

const schema = {
  type: 'object',
  properties: {
    sha: { type: 'string' },
    count: { type: 'integer' },
    matrix: { type: 'array' },
    either: { type: ['string', 'null'] },
    any: {},
  },
};

describe('params', () => {
  it('are text without a schema', () => {
    expect(parseParams(['sha=123', 'note=a=b', 'empty='], undefined)).toEqual({ sha: '123', note: 'a=b', empty: '' });
  });

  it('are what the schema says', () => {
    const args = ['sha=123', 'count=3', 'matrix=["a"]', 'either=null', 'any=1', 'other=2'];
    expect(parseParams(args, schema)).toEqual({
      sha: '123',
      count: 3,
      matrix: ['a'],
      either: 'null',
      any: '1',
      other: '2',
    });
  });

  it('are JSON where the argument says so', () => {
    expect(parseParams(['a:={"b":[1,null]}', 'sha:=1'], schema)).toEqual({ a: { b: [1, null] }, sha: 1 });
  });

  it('are left to the server when they are not what the schema says', () => {
    expect(parseParams(['count=three'], schema)).toEqual({ count: 'three' });
  });

  it.each(['sha', '=x', 'a:=x'])('refuses %s', (arg) => {
    expect(() => parseParams([arg], schema)).toThrow(UsageError);
  });
});

describe('labels', () => {
  it('are text', () => expect(parseLabels(['a=1', 'b=x=y'])).toEqual({ a: '1', b: 'x=y' }));
  it('need a key and a value', () => expect(() => parseLabels(['main'])).toThrow("'main' is no label"));
});
