// Draws the jobs of a pipeline or a run, as text that other programs make pictures of. Names of jobs need no quotes in either.
import type { PipelineDefinition } from '@conveyor/client';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';

export type GraphFormat = 'mermaid' | 'dot';

/** A word for the state of a job by its name, such as `succeeded`; nothing is known of a job that has not run. */
export type GraphStates = ReadonlyMap<string, string>;

/** A need that its job waits for, but whose outcome does not matter to it, is a dashed line. */
export function drawGraph({ jobs }: PipelineDefinition, states: GraphStates, format: GraphFormat): string {
  const nodes = jobs.map(({ name }) => ({ name, state: states.get(name) }));
  const edges = jobs.flatMap(({ name, needs, when }) =>
    needs.map((need) => ({ from: need, to: name, always: when === RunCondition.ALWAYS })),
  );
  return format === 'dot' ? drawDot(nodes, edges) : drawMermaid(nodes, edges);
}

interface Node {
  readonly name: string;
  readonly state: string | undefined;
}

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly always: boolean;
}

/** By state; light, so that the text on them is read. */
const COLORS: Readonly<Record<string, string>> = {
  running: '#cce5ff',
  offered: '#cce5ff',
  cancelling: '#ffe5b4',
  succeeded: '#d4edda',
  failed: '#f8d7da',
  cancelled: '#e2e3e5',
  skipped: '#f5f5f5',
};

/** https://mermaid.js.org/syntax/flowchart.html */
function drawMermaid(nodes: readonly Node[], edges: readonly Edge[]): string {
  // A name could be a word of the language, so jobs are numbered.
  const ids = new Map(nodes.map(({ name }, index) => [name, `j${index}`]));
  const states = [...new Set(nodes.flatMap(({ state }) => state ?? []))];
  return [
    'flowchart LR',
    ...nodes.map(({ name, state }) => {
      const label = state === undefined ? name : `${name}<br>${state}`;
      return `  ${ids.get(name)}["${label}"]${state !== undefined && state in COLORS ? `:::${state}` : ''}`;
    }),
    ...edges.map(({ from, to, always }) => `  ${ids.get(from)} ${always ? '-.->' : '-->'} ${ids.get(to)}`),
    ...states.flatMap((state) => (state in COLORS ? [`  classDef ${state} fill:${COLORS[state]}`] : [])),
  ].join('\n');
}

/** https://graphviz.org/doc/info/lang.html */
function drawDot(nodes: readonly Node[], edges: readonly Edge[]): string {
  return [
    'digraph {',
    '  rankdir=LR',
    '  node [shape=box style="rounded,filled" fillcolor=white]',
    ...nodes.map(({ name, state = '' }) => {
      const label = state === '' ? [] : [`label="${name}\\n${state}"`];
      const fill = COLORS[state] === undefined ? [] : [`fillcolor="${COLORS[state]}"`];
      const attributes = [...label, ...fill].join(' ');
      return attributes === '' ? `  "${name}"` : `  "${name}" [${attributes}]`;
    }),
    ...edges.map(({ from, to, always }) => `  "${from}" -> "${to}"${always ? ' [style=dashed]' : ''}`),
    '}',
  ].join('\n');
}
