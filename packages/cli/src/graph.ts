// Draws the jobs of a pipeline or a run, as text that other programs make pictures of. What is drawn is decided here: needs that a stage
// stands for are one edge between stages, cells are counted, and what comes after everything is said where edges would be too many.
import { type JobDefinition, type PipelineDefinition, RunCondition } from '@conveyor/client';
import { drawDot } from './graph-dot.ts';
import { drawMermaid } from './graph-mermaid.ts';
import type { Graph, GraphEdge, GraphNode } from './graph-parts.ts';
import { clipped, tally } from './text.ts';

export type GraphFormat = 'mermaid' | 'dot';

/** What is known of a run; nothing of a pipeline. */
export interface GraphRun {
  /** A word for the state of a job by its name, such as `succeeded`. */
  readonly states: ReadonlyMap<string, string>;
  /** Names of the cells of each matrix, by the name of its job. */
  readonly cells: ReadonlyMap<string, readonly string[]>;
  /** Names of the jobs whose failure was allowed. Default: none. */
  readonly allowed?: ReadonlySet<string>;
  /** The name of the job that appended another, by the name of that. Default: none. */
  readonly appendedBy?: ReadonlyMap<string, string>;
}

/** @param drawsCells Draws each cell of a matrix, as far as the run has made them. */
export function drawGraph(
  definition: PipelineDefinition,
  run: GraphRun,
  format: GraphFormat,
  drawsCells = false,
): string {
  const graph = graphOf(definition, run, drawsCells);
  return format === 'dot' ? drawDot(graph) : drawMermaid(graph);
}

/** Edges that may lead to what comes after every other job; were there more, a note says it. */
const mostFinalEdges = 50;
const longestCondition = 40;

function graphOf({ jobs, stages }: PipelineDefinition, run: GraphRun, drawsCells: boolean): Graph {
  const staged = stagesBefore(stages, jobs);
  const final = finalNeeds(jobs, staged);
  const nodes = jobs.flatMap((job) => {
    const cells = drawsCells ? (run.cells.get(job.name) ?? []) : [];
    return [jobNode(job, run, final), ...cells.map((name) => cellNode(name, job.stage, run))];
  });
  const names = new Set(nodes.map(({ name }) => name));
  const edges = jobs.flatMap((job): GraphEdge[] => {
    const cells = drawsCells ? (run.cells.get(job.name) ?? []) : [];
    return [
      ...needsDrawn(job, staged, final).map((from) => ({ from, to: job.name, kind: edgeKind(job) })),
      ...cells.map((to) => ({ from: job.name, to, kind: 'cell' as const })),
      ...appendEdge(job, run, names),
    ];
  });
  return { stages: [...staged.keys()], nodes, edges, stageEdges: stageEdges(jobs, staged) };
}

/** From the job that appended one, or the matrix of which a cell did; none where a need says the order already. */
function appendEdge({ name, needs }: JobDefinition, run: GraphRun, names: ReadonlySet<string>): readonly GraphEdge[] {
  const by = run.appendedBy?.get(name);
  if (by === undefined) return [];
  const from = names.has(by) ? by : by.replace(/\[.*\]$/, '');
  return needs.includes(from) ? [] : [{ from, to: name, kind: 'appended' }];
}

interface StageBefore {
  readonly name: string;
  readonly jobs: readonly string[];
}

/** The nearest stage before each one that has jobs; undefined before the first. */
function stagesBefore(
  stages: readonly string[],
  jobs: readonly JobDefinition[],
): ReadonlyMap<string, StageBefore | undefined> {
  const members = Map.groupBy(jobs, ({ stage }) => stage);
  const before = new Map<string, StageBefore | undefined>();
  let last: StageBefore | undefined;
  for (const name of stages) {
    const own = members.get(name);
    if (own === undefined) continue;
    before.set(name, last);
    last = { name, jobs: own.map((job) => job.name) };
  }
  return before;
}

type StagesBefore = ReturnType<typeof stagesBefore>;

function stageEdges(jobs: readonly JobDefinition[], staged: StagesBefore): Graph['stageEdges'] {
  return Array.from(staged).flatMap(([to, before]) => {
    const isDrawn = before !== undefined && jobs.some((job) => job.stage === to && edgeKind(job) === 'success');
    return isDrawn ? [{ from: before.name, to }] : [];
  });
}

/** The jobs that lead to one by edges of their own: not those that the edge of its stage stands for. */
function needsDrawn(job: JobDefinition, staged: StagesBefore, final: readonly string[] | undefined): readonly string[] {
  if (job.when === RunCondition.FINALLY) return [...new Set([...job.needs, ...(final ?? [])])];
  const before = staged.get(job.stage)?.jobs ?? [];
  if (edgeKind(job) !== 'success') return [...new Set([...job.needs, ...before])];
  const implied = new Set(before);
  return job.needs.filter((need) => !implied.has(need));
}

/** The jobs after which the run is through but for FINALLY jobs; undefined when they are too many to be drawn, or there is nothing after. */
function finalNeeds(jobs: readonly JobDefinition[], staged: StagesBefore): readonly string[] | undefined {
  const others = jobs.filter(({ when }) => when !== RunCondition.FINALLY);
  const needed = new Set(others.flatMap(({ needs }) => needs));
  const stagesNeeded = new Set(others.flatMap(({ stage }) => staged.get(stage)?.name ?? []));
  const last = others.filter(({ name, stage }) => !needed.has(name) && !stagesNeeded.has(stage));
  const edges = last.length * (jobs.length - others.length);
  return edges === 0 || edges > mostFinalEdges ? undefined : last.map(({ name }) => name);
}

function edgeKind({ when }: JobDefinition): GraphEdge['kind'] {
  switch (when) {
    case RunCondition.UNSPECIFIED:
    case RunCondition.SUCCESS:
      return 'success';
    case RunCondition.ALWAYS:
    case RunCondition.FINALLY:
      return 'always';
    case RunCondition.FAILURE:
      return 'failure';
  }
}

function jobNode(job: JobDefinition, run: GraphRun, final: readonly string[] | undefined): GraphNode {
  const state = run.states.get(job.name);
  const isAfterAll = job.when === RunCondition.FINALLY && final === undefined;
  const lines = [
    job.name,
    matrixLine(job, run),
    kindLine(job),
    run.allowed?.has(job.name) ? `${state}, allowed` : (state ?? ''),
    job.if === '' ? '' : `if ${clipped(job.if, longestCondition)}`,
    isAfterAll ? 'after all other jobs' : '',
  ];
  return { name: job.name, shape: shapeOf(job), stage: job.stage, state, lines: lines.filter((line) => line !== '') };
}

function cellNode(name: string, stage: string, { states }: GraphRun): GraphNode {
  const state = states.get(name);
  return { name, shape: 'cell', stage, state, lines: state === undefined ? [name] : [name, state] };
}

function shapeOf({ matrix, gate, call }: JobDefinition): GraphNode['shape'] {
  if (matrix !== undefined) return 'matrix';
  if (gate !== undefined) return 'gate';
  return call === undefined ? 'job' : 'call';
}

function matrixLine({ name, matrix }: JobDefinition, { cells, states }: GraphRun): string {
  if (matrix === undefined) return '';
  const own = cells.get(name) ?? [];
  if (own.length > 0)
    return `${own.length} ${own.length === 1 ? 'cell' : 'cells'}: ${tally(own.map((cell) => states.get(cell) ?? ''))}`;
  const axes = Object.keys(matrix.axes ?? {});
  return axes.length === 0 ? 'matrix' : `matrix of ${axes.join(', ')}`;
}

function kindLine({ gate, call }: JobDefinition): string {
  if (gate !== undefined) return gate.quorum > 1 ? `gate: ${gate.quorum} to approve` : 'gate';
  if (call === undefined) return '';
  return `calls ${call.pipeline}${call.revision === 0 ? '' : `@${call.revision}`}`;
}
