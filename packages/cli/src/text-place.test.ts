import { describe, expect, it } from 'vitest';
import { placeText } from './file-problem.ts';
import { parsePipeline } from './pipeline-file.ts';

/** Where the command points at a place in the text of a value: the marked one, which is no part of it. */
function pointed(value: string): { told: string; marked: string } {
  const source = (yaml: string) => `jobs:\n  - name: a\n    if: ${yaml}\n`;
  const [before = '', after = ''] = source(value).split('^');
  const file = parsePipeline(before + after, 'ci.yaml');
  const text = file.definition.jobs[0]?.if ?? '';
  const lines = before.split('\n');
  const { message, ...place } = file.problemOf({
    field: 'definition.jobs[0].if',
    description: 'at column 7: is wrong',
    offset: text.indexOf('HERE'),
  });
  return { told: `${placeText(place)} ${message}`, marked: `ci.yaml:${lines.length}:${lines.at(-1)!.length + 1}` };
}

describe('a place in a text', () => {
  it.each([
    ['a plain text', 'params.a && ^HERE'],
    ['its beginning', '^HERE'],
    ['double quotes', '"params.a && ^HERE"'],
    ['single quotes', "'params.a && ^HERE'"],
    ['single quotes behind doubled ones', "'''a'' == ^HERE'"],
    ['single quotes right behind a doubled one', "'''^HERE'"],
    ['quotes with an escape after it', '"params.a && ^HERE == \\"x\\""'],
    ['a literal block', '|\n      params.a\n        && ^HERE'],
    ['a literal block of one line', '|\n      ^HERE'],
    ['a literal block without its last line end', '|-\n      params.a\n\n      && ^HERE\n\n'],
    ['a literal block of a given indentation', '|2 # why\n       params.a && ^HERE'],
    ['a literal block with CRLF', '|\r\n      params.a\r\n      && ^HERE\r\n'],
    ['a text behind an anchor', '&a params.a && ^HERE'],
    ['astral characters', 'x😀 == ^HERE'],
  ])('is told exactly in %s', (_, value) => {
    const { told, marked } = pointed(value);
    expect(told).toBe(`${marked} is wrong`);
  });

  it.each([
    ['after an escape', '^"\\x41 HERE"'],
    ['after a backslash', '^"\\\\HERE"'],
    ['in a folded text', '^>\n      params.a &&\n      HERE'],
    ['in the second line of a plain text', '^params.a &&\n      HERE'],
  ])('is that of the text, and the description keeps its column, %s', (_, value) => {
    const { told, marked } = pointed(value);
    expect(told).toBe(`${marked} at column 7: is wrong`);
  });

  it('is that of the key when all of the text is wrong, unless it is a condition', () => {
    const file = parsePipeline('jobs: [{ if: a, driver: "b" }]', 'ci.yaml');
    const told = (field: string) => placeText(file.problemOf({ field, description: 'is wrong' }));
    expect([told('definition.jobs[0].if'), told('definition.jobs[0].driver')]).toEqual([
      'ci.yaml:1:14',
      'ci.yaml:1:17',
    ]);
  });
});
