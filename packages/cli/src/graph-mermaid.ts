// Writes a graph as a flowchart of Mermaid: https://mermaid.js.org/syntax/flowchart.html
import { type Graph, type GraphEdge, type GraphNode, STATE_COLORS } from './graph-parts.ts';

export function drawMermaid({ stages, nodes, edges, stageEdges }: Graph): string {
  // A name could be a word of the language, so jobs and stages are numbered.
  const ids = new Map(nodes.map(({ name }, index) => [name, `j${index}`]));
  const stageIds = new Map(stages.map((stage, index) => [stage, `s${index}`]));
  const states = [...new Set(nodes.flatMap(({ state }) => state ?? []))];
  const draw = (node: GraphNode) => nodeText(ids.get(node.name) ?? '', node);
  return [
    'flowchart LR',
    ...stages.flatMap((stage) => [
      `  subgraph ${stageIds.get(stage)}["${escaped(stage)}"]`,
      ...nodes.filter((node) => node.stage === stage).map((node) => `  ${draw(node)}`),
      '  end',
    ]),
    ...nodes.filter(({ stage }) => !stageIds.has(stage)).map(draw),
    ...stageEdges.map(({ from, to }) => `  ${stageIds.get(from)} --> ${stageIds.get(to)}`),
    ...edges.map(({ from, to, kind }) => `  ${ids.get(from)} ${arrows[kind]} ${ids.get(to)}`),
    ...states.flatMap((state) => (state in STATE_COLORS ? [`  classDef ${state} fill:${STATE_COLORS[state]}`] : [])),
  ].join('\n');
}

const arrows: Readonly<Record<GraphEdge['kind'], string>> = {
  success: '-->',
  always: '-.->',
  failure: '-->|failure|',
  cell: '---',
  appended: '-.->|appended|',
};

const brackets: Readonly<Record<GraphNode['shape'], readonly [string, string]>> = {
  job: ['[', ']'],
  matrix: ['([', '])'],
  cell: ['(', ')'],
  gate: ['{{', '}}'],
  call: ['[[', ']]'],
};

function nodeText(id: string, { shape, state = '', lines }: GraphNode): string {
  const [open, close] = brackets[shape];
  const label = lines.map(escaped).join('<br>');
  return `  ${id}${open}"${label}"${close}${state in STATE_COLORS ? `:::${state}` : ''}`;
}

/** All that could mean something in a text of Mermaid, which may be Markdown and HTML, as a number of a character. */
function escaped(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} _.,:=+@/()[\]-]/gu, (character) => `#${character.codePointAt(0)};`);
}
