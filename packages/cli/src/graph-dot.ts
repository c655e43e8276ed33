// Writes a graph in DOT: https://graphviz.org/doc/info/lang.html
import { type Graph, type GraphEdge, type GraphNode, STATE_COLORS } from './graph-parts.ts';

export function drawDot({ stages, nodes, edges, stageEdges }: Graph): string {
  const clusters = new Map(stages.map((stage, index) => [stage, `cluster_${index}`]));
  const firstOf = (stage: string) => text([nodes.find((node) => node.stage === stage)?.name ?? '']);
  return [
    'digraph {',
    '  rankdir=LR',
    ...(stageEdges.length === 0 ? [] : ['  compound=true']),
    '  node [shape=box style="rounded,filled" fillcolor=white]',
    ...stages.flatMap((stage) => [
      `  subgraph ${clusters.get(stage)} {`,
      `    label=${text([stage])}`,
      ...nodes.filter((node) => node.stage === stage).map((node) => `  ${nodeText(node)}`),
      '  }',
    ]),
    ...nodes.filter(({ stage }) => !clusters.has(stage)).map(nodeText),
    ...stageEdges.map(
      ({ from, to }) => `  ${firstOf(from)} -> ${firstOf(to)} [ltail=${clusters.get(from)} lhead=${clusters.get(to)}]`,
    ),
    ...edges.map(({ from, to, kind }) => `  ${text([from])} -> ${text([to])}${arrows[kind]}`),
    '}',
  ].join('\n');
}

const arrows: Readonly<Record<GraphEdge['kind'], string>> = {
  success: '',
  always: ' [style=dashed]',
  failure: ' [label="failure"]',
  cell: ' [dir=none]',
  appended: ' [style=dotted label="appended"]',
};

const shapes: Readonly<Record<GraphNode['shape'], string>> = {
  job: '',
  matrix: 'shape=box3d style=filled',
  cell: '',
  gate: 'shape=hexagon style=filled',
  call: 'peripheries=2',
};

function nodeText({ name, shape, state = '', lines }: GraphNode): string {
  const attributes = [
    lines.length === 1 ? '' : `label=${text(lines)}`,
    shapes[shape],
    STATE_COLORS[state] === undefined ? '' : `fillcolor="${STATE_COLORS[state]}"`,
  ].filter((attribute) => attribute !== '');
  return `  ${text([name])}${attributes.length === 0 ? '' : ` [${attributes.join(' ')}]`}`;
}

function text(lines: readonly string[]): string {
  // Graphviz reads entities of HTML in every label.
  const texts = lines.map((line) => line.replaceAll('&', '&amp;').replaceAll(/["\\]/g, String.raw`\$&`));
  return `"${texts.join(String.raw`\n`)}"`;
}
