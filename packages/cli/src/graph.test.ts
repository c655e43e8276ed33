import { create } from '@bufbuild/protobuf';
import { PipelineDefinitionSchema, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
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

describe('a graph in Mermaid', () => {
  it('has the jobs and their needs, whatever words their names are', () => {
    expect(drawGraph(definition, new Map(), 'mermaid')).toBe(`flowchart LR
  j0["end"]
  j1["test"]
  j2["report"]
  j0 --> j1
  j0 -.-> j2
  j1 -.-> j2`);
  });

  it('shows the states of a run', () => {
    const lines = drawGraph(definition, states, 'mermaid').split('\n');
    expect(lines).toContain('  j0["end<br>succeeded"]:::succeeded');
    expect(lines).toContain('  j2["report<br>queued"]');
    expect(lines.slice(-2)).toEqual(['  classDef succeeded fill:#d4edda', '  classDef failed fill:#f8d7da']);
  });
});

describe('a graph in DOT', () => {
  it('has the jobs with their states and needs', () => {
    expect(drawGraph(definition, states, 'dot')).toBe(String.raw`digraph {
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
