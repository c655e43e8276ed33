import { describe, expect, it } from 'vitest';
import { problemText } from './file-problem.ts';
import { parsePipeline, PipelineFileError } from './pipeline-file.ts';
import { MAX_FILE_BYTES } from './yaml-tree.ts';

function problemsOf(source: string | Uint8Array): string[] {
  try {
    parsePipeline(source, 'ci.yaml');
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) return thrown.problems.map(problemText);
    throw thrown;
  }
  return [];
}

/** What the first job's spec holds. */
function specOf(yaml: string): unknown {
  return parsePipeline(`jobs: [{ spec: ${yaml} }]`, 'ci.yaml').definition.jobs[0]?.spec;
}

describe('a file that is hard to read', () => {
  it('is refused by its size before it is parsed', () => {
    const large = '#'.repeat(MAX_FILE_BYTES - 10).concat('\nlabels: {}');
    const [problem] = problemsOf(large);
    expect(problem).toBe(
      'ci.yaml:1:1: has 2.0 MiB: at most 2 MiB are read, and a definition has at most 1 MiB as JSON',
    );
    expect(problemsOf(large.slice(1))).toEqual([]);
  });

  it.each([
    ['a tab as indentation', 'jobs:\n\t- name: a', 2, 1, /Tabs are not allowed as indentation/],
    ['NUL', 'name: a\nlabels: { a: b\0c }', 2, 15, /^holds the control character U\+0000; in double quotes/],
    ['an escape sequence', 'name: "\u001B[2J"', 1, 8, /^holds the control character U\+001B/],
    ['UTF-16', new Uint8Array([0xff, 0xfe, 0x6e, 0]), 1, 1, /^is UTF-16; save it as UTF-8$/],
    ['Latin-1', Buffer.from('name: a\n# caf\xe9 au lait', 'latin1'), 2, 6, /^is not UTF-8: the byte 0xE9/],
    ['a cut character', Buffer.from('name: é').subarray(0, -1), 1, 7, /^ends within a character$/],
    ['half of a surrogate pair', 'name: "\\uD83D"', 1, 1, /^name: must be valid Unicode/],
    ['a second document', 'name: a\n---\nname: b', 2, 1, /^holds a second document/],
    ['another version of YAML', '%YAML 1.1\n---\nname: yes', 1, 1, /^is YAML 1.1; write YAML 1.2$/],
    ['an unknown tag', 'name: !secret a', 1, 7, /^Unresolved tag: !secret$/],
    ['a key twice', 'jobs:\n  - name: a\n    name: b', 3, 5, /^jobs\[0\].name: is given twice$/],
    ['a key twice in a spec', 'jobs: [{ spec: { a: 1, "a": 2 } }]', 1, 24, /^jobs\[0\].spec.a: is given twice$/],
    ['a number as key', 'labels: { 1: a }', 1, 11, /^labels.1: must have text as its key; put the key in quotes$/],
    ['a truth as key', 'labels: { true: a }', 1, 11, /^labels.true: must have text as its key/],
    ['nothing as key', 'labels: { : a }', 1, 10, /^labels: has a key that is no text$/],
    ['a list as key', 'labels: { [a]: a }', 1, 11, /^labels: has a key that is no text$/],
    ['an alias as key', 'name: &a x\nlabels: { *a : a }', 2, 11, /^labels: has a key that is no text$/],
    ['a merge of no mapping', 'labels: { <<: a }', 1, 11, /^labels.<<|^labels\["<<"\]: merges what is no mapping$/],
    ['an alias of nothing', 'labels: { a: *b }', 1, 14, /^labels.a: \*b repeats an anchor that is not above$/],
    ['an alias of itself', 'labels: &a { a: *a }', 1, 17, /^labels.a: \*a stands inside of what it repeats$/],
    [
      'a number of too many digits',
      'jobs: [{ spec: { a: 9007199254740993 } }]',
      1,
      18,
      /a: loses digits as a number, which would be 9007199254740992; put it in quotes$/,
    ],
    [
      'a fraction of too many digits',
      'jobs: [{ spec: { a: 0.12345678901234567891 } }]',
      1,
      18,
      /a: loses digits as a number/,
    ],
    [
      'hexadecimal of too many digits',
      'jobs: [{ spec: { a: 0x20000000000001 } }]',
      1,
      18,
      /a: loses digits as a number/,
    ],
    ['a number that is too large', 'jobs: [{ spec: { a: 1e999 } }]', 1, 18, /a: has no form in JSON$/],
    ['a number that is none', 'jobs: [{ spec: { a: .nan } }]', 1, 18, /a: has no form in JSON$/],
    [
      'a number that its field cannot hold',
      'jobs: [{ retry: { workload: 3000000000 } }]',
      1,
      19,
      /workload: must be a whole number from -2147483648 to 2147483647$/,
    ],
    [
      'a duration that nobody lives to see',
      'jobs: [{ timeouts: { runTimeout: 99999999d } }]',
      1,
      22,
      /runTimeout: must be a duration/,
    ],
  ])('is refused for %s, where it stands', (_, source, line, column, message) => {
    const [problem = '', ...more] = problemsOf(source);
    expect(more).toEqual([]);
    expect(problem).toMatch(new RegExp(`^ci\\.yaml:${line}:${column}: `));
    expect(problem.replace(/^ci\.yaml:\d+:\d+: /, '')).toMatch(message);
  });

  it('may begin with a byte order mark', () => {
    expect(parsePipeline('\uFEFFname: a', 'ci.yaml').name).toBe('a');
    expect(parsePipeline(Buffer.from('\uFEFFname: a'), 'ci.yaml').name).toBe('a');
  });

  it('keeps every number that a double shows as it was written', () => {
    expect(
      specOf('{ a: 0.1, b: 1.50e3, c: 9007199254740992, d: 1e21, e: 0x1F, f: -0.0, g: 12345678901234567000 }'),
    ).toEqual({ a: 0.1, b: 1500, c: 9007199254740992, d: 1e21, e: 31, f: -0, g: 12345678901234567000 });
  });

  it('merges what is given by anchors, the own keys first', () => {
    const source = `labels:
  <<: [{ a: one, b: one }, { b: two, c: two }]
  a: own
`;
    expect(parsePipeline(source, 'ci.yaml').definition.labels).toEqual({ a: 'own', b: 'one', c: 'two' });
    expect(specOf('{ "<<": { a: 1 } }')).toEqual({ '<<': { a: 1 } });
  });

  it.each([
    ['lists on one line', '['.repeat(10_000)],
    ['mappings on one line', '{a: '.repeat(10_000)],
    ['items on one line', '- '.repeat(10_000)],
    ['mappings line by line', Array.from({ length: 10_000 }, (_, level) => `${' '.repeat(level % 150)}a:`).join('\n')],
    ['closed lists', `jobs: [{ spec: { a: ${'['.repeat(10_000)}${']'.repeat(10_000)} } }]`],
  ])('is refused for too many levels: %s', (_, source) => {
    expect(problemsOf(source)).toEqual([expect.stringMatching(/: has more than 100 levels of lists and mappings$/)]);
  });

  it('is refused for levels that aliases make', () => {
    const source = [
      'labels:',
      '  a0: &a0 [x]',
      ...Array.from({ length: 10_000 }, (_, i) => `  a${i + 1}: &a${i + 1} [*a${i}]`),
    ];
    expect(problemsOf(source.join('\n'))).toContainEqual(
      expect.stringMatching(/^ci.yaml:10\d:\d+: labels.a\d+\[0\]: \*a\d+ makes more than 100 levels/),
    );
  });

  it.each([
    ['laughs', (i: number) => `[${`*a${i},`.repeat(9)}]`, 'aliases'],
    ['merges', (i: number) => `{ b: [${`*a${i},`.repeat(9)}], <<: { c: *a${i} } }`, 'aliases'],
  ])('is refused for aliases that multiply: %s', (_, next) => {
    const lines = Array.from({ length: 12 }, (_unused, i) => `  a${i + 1}: &a${i + 1} ${next(i)}`);
    const problems = problemsOf(['labels:', '  a0: &a0 [lol]', ...lines].join('\n'));
    expect(problems.filter((problem) => problem.includes('aliases make more than 2 MiB of this file'))).toHaveLength(1);
  });

  it.each(['"', ']', 'a: ]', '%a\n', '---\n', '!a ', '&a ', '*a ', '? ', 'a: b: c\n', '[a, '])(
    'is read in bounded time and memory when it is full of %j',
    (part) => {
      const problems = problemsOf(part.repeat(500_000 / part.length));
      expect(problems.length).toBeGreaterThan(0);
      expect(problems.length).toBeLessThanOrEqual(101);
    },
  );

  it('tells no more problems than anybody reads, in time', () => {
    const jobs = Array.from({ length: 5_000 }, () => '  - { nam: a, nedes: b }').join('\n');
    expect(problemsOf(`jobs:\n${jobs}`)).toHaveLength(100);
    expect(problemsOf(`labels:\n${Array.from({ length: 50_000 }, (_, i) => `  k${i}: ${i}`).join('\n')}`)).toHaveLength(
      100,
    );
    expect(problemsOf(`labels: {${'a: b, '.repeat(50_000)}}`)).toHaveLength(100);
  });
});
