// Owns what a picture of jobs is made of, whatever the language that it is written in.

/** What a drawing is made of. */
export interface Graph {
  /** Stages that have jobs, in order. */
  readonly stages: readonly string[];
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** Stages whose jobs need all jobs of another. */
  readonly stageEdges: readonly { readonly from: string; readonly to: string }[];
}

export interface GraphNode {
  /** Unique in the graph. */
  readonly name: string;
  readonly shape: 'job' | 'matrix' | 'cell' | 'gate' | 'call';
  /** Empty when it is of none. */
  readonly stage: string;
  readonly state: string | undefined;
  /** What is written on it, beginning with its name. */
  readonly lines: readonly string[];
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** `always`: the outcome does not matter. `failure`: only a failure does. `cell`: no order, but a part. `appended`: made by it. */
  readonly kind: 'success' | 'always' | 'failure' | 'cell' | 'appended';
}

/** By state; light, so that the text on them is read. */
export const STATE_COLORS: Readonly<Record<string, string>> = {
  waiting: '#fff3cd',
  running: '#cce5ff',
  offered: '#cce5ff',
  cancelling: '#ffe5b4',
  succeeded: '#d4edda',
  failed: '#f8d7da',
  cancelled: '#e2e3e5',
  skipped: '#f5f5f5',
};
