import { create } from '@bufbuild/protobuf';
import { PipelineDefinitionSchema, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { pipeline } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { drawGraph } from './graph.ts';

const definition = create(PipelineDefinitionSchema, {
  jobs: [
    { name: 'end', driver: 'shell' },
    { name: 'test', driver: 'shell', needs: ['end'] },
    { name: 'report', driver: 'shell', needs: ['end', 'test'], when: RunCondition.ALWAYS },
  ],
});
const states = new Map([
  ['end', 'succeeded'],
  ['test', 'failed'],
  ['report', 'queued'],
]);
const unknown = { states: new Map(), cells: new Map() };
const run = { states, cells: new Map() };

describe('a graph in Mermaid', () => {
  it('has the jobs and their needs, whatever words their names are', () => {
    expect(drawGraph(definition, unknown, 'mermaid')).toBe(`flowchart LR
  j0["end"]
  j1["test"]
  j2["report"]
  j0 --> j1
  j0 -.-> j2
  j1 -.-> j2`);
  });

  it('shows whose failure was allowed, and what appended a job', () => {
    const appendedBy = new Map([
      ['report', 'end'],
      ['test', 'gen[1]'],
    ]);
    const jobs = [...definition.jobs.map((job) => ({ ...job, needs: [] })), { ...definition.jobs[0]!, name: 'gen' }];
    const drawn = (format: 'mermaid' | 'dot') =>
      drawGraph({ ...definition, jobs }, { ...run, allowed: new Set(['test']), appendedBy }, format).split('\n');
    expect(drawn('mermaid')).toContain('  j1["test<br>failed, allowed"]:::failed');
    expect(drawn('mermaid')).toEqual(expect.arrayContaining(['  j0 -.->|appended| j2', '  j3 -.->|appended| j1']));
    expect(drawn('dot')).toContain('  "end" -> "report" [style=dotted label="appended"]');
    const needing = drawGraph(definition, { ...run, appendedBy: new Map([['test', 'end']]) }, 'mermaid');
    expect(needing).not.toContain('appended');
  });

  it('shows the states of a run', () => {
    const lines = drawGraph(definition, run, 'mermaid').split('\n');
    expect(lines).toContain('  j0["end<br>succeeded"]:::succeeded');
    expect(lines).toContain('  j2["report<br>queued"]');
    expect(lines.slice(-2)).toEqual(['  classDef succeeded fill:#d4edda', '  classDef failed fill:#f8d7da']);
  });
});

describe('a graph in DOT', () => {
  it('has the jobs with their states and needs', () => {
    expect(drawGraph(definition, run, 'dot')).toBe(String.raw`digraph {
  rankdir=LR
  node [shape=box style="rounded,filled" fillcolor=white]
  "end" [label="end\nsucceeded" fillcolor="#d4edda"]
  "test" [label="test\nfailed" fillcolor="#f8d7da"]
  "report" [label="report\nqueued"]
  "end" -> "test"
  "end" -> "report" [style=dashed]
  "test" -> "report" [style=dashed]
}`);
  });
});

/** Every kind of job, in stages and after them. */
const release = pipeline('release', { stages: ['check', 'none', 'ship it'] })
  .job('plan', { driver: 'shell', if: String.raw`params.a < 1 && labels["x"] == "q\\d and more"` })
  .job('test', {
    driver: 'shell',
    stage: 'check',
    needs: ['plan'],
    matrix: { axes: { node: [22, 24], os: ['linux'] } },
  })
  .job('lint', { driver: 'shell', stage: 'check' })
  .gate('approve', { stage: 'ship it', quorum: 2 })
  .job('undo', { driver: 'shell', stage: 'ship it', when: 'failure' })
  .call('deploy', { needs: ['approve'], pipeline: 'deploy', revision: 3 })
  .job('clean', { driver: 'shell', when: 'finally' }).definition;
const releaseRun = {
  states: new Map([
    ['plan', 'succeeded'],
    ['test', 'waiting'],
    ['test[22,linux]', 'succeeded'],
    ['test[24,linux]', 'running'],
  ]),
  cells: new Map([['test', ['test[22,linux]', 'test[24,linux]']]]),
};

describe('a graph of every kind of job', () => {
  it('in Mermaid has stages, shapes, conditions and what comes after everything, with nothing that means something else', () => {
    expect(drawGraph(release, unknown, 'mermaid')).toBe(`flowchart LR
  subgraph s0["check"]
    j1(["test<br>matrix of node, os"])
    j2["lint"]
  end
  subgraph s1["ship it"]
    j3{{"approve<br>gate: 2 to approve"}}
    j4["undo"]
  end
  j0["plan<br>if params.a #60; 1 #38;#38; labels[#34;x#34;] == #34;q#92;#92;d an#8230;"]
  j5[["deploy<br>calls deploy@3"]]
  j6["clean"]
  s0 --> s1
  j0 --> j1
  j1 -->|failure| j4
  j2 -->|failure| j4
  j3 --> j5
  j4 -.-> j6
  j5 -.-> j6`);
  });

  it('in DOT has clusters, and edges between them', () => {
    expect(drawGraph(release, unknown, 'dot')).toBe(String.raw`digraph {
  rankdir=LR
  compound=true
  node [shape=box style="rounded,filled" fillcolor=white]
  subgraph cluster_0 {
    label="check"
    "test" [label="test\nmatrix of node, os" shape=box3d style=filled]
    "lint"
  }
  subgraph cluster_1 {
    label="ship it"
    "approve" [label="approve\ngate: 2 to approve" shape=hexagon style=filled]
    "undo"
  }
  "plan" [label="plan\nif params.a < 1 &amp;&amp; labels[\"x\"] == \"q\\\\d an…"]
  "deploy" [label="deploy\ncalls deploy@3" peripheries=2]
  "clean"
  "test" -> "approve" [ltail=cluster_0 lhead=cluster_1]
  "plan" -> "test"
  "test" -> "undo" [label="failure"]
  "lint" -> "undo" [label="failure"]
  "approve" -> "deploy"
  "undo" -> "clean" [style=dashed]
  "deploy" -> "clean" [style=dashed]
}`);
  });

  it('counts the cells of a matrix, or draws each', () => {
    const counted = drawGraph(release, releaseRun, 'mermaid').split('\n');
    expect(counted).toContain('    j1(["test<br>2 cells: 1 succeeded, 1 running<br>waiting"]):::waiting');
    expect(counted.join()).not.toContain('22,linux');
    const drawn = drawGraph(release, releaseRun, 'mermaid', true).split('\n');
    expect(drawn).toContain('    j3("test[24,linux]<br>running"):::running');
    expect(drawn).toContain('  j1 --- j3');
    const dot = drawGraph(release, releaseRun, 'dot', true).split('\n');
    expect(dot).toContain('  "test" -> "test[24,linux]" [dir=none]');
  });

  it('is the same whether the needs of stages are written out, as the server does, or not', () => {
    const written = release.jobs.map((job) => ({
      ...job,
      needs: job.stage === 'ship it' ? [...job.needs, 'test', 'lint'] : job.needs,
    }));
    expect(drawGraph({ ...release, jobs: written }, unknown, 'dot')).toBe(drawGraph(release, unknown, 'dot'));
  });

  it('says what comes after everything where edges would be too many', () => {
    const jobs = Array.from({ length: 51 }, (_, index) => ({ name: `part-${index}`, driver: 'shell' }));
    const wide = create(PipelineDefinitionSchema, {
      jobs: [...jobs, { name: 'clean', driver: 'shell', needs: ['part-7'], when: RunCondition.FINALLY }],
    });
    const lines = drawGraph(wide, unknown, 'mermaid').split('\n');
    expect(lines.slice(-2)).toEqual(['  j51["clean<br>after all other jobs"]', '  j7 -.-> j51']);
    const narrow = create(PipelineDefinitionSchema, { jobs: wide.jobs.slice(1) });
    expect(drawGraph(narrow, unknown, 'mermaid').match(/-\.->/g)).toHaveLength(50);
  });
});
