// Whose calls are seen to next: projects in turns, and in each project trees of calls in turns, so that whatever one makes of its own
// keeps nobody else waiting for long.
import type { RunId } from '../core/ids.ts';
import { type DueCall, dueCalls, dueProjects, type DueTurns } from '../store/due-calls.ts';
import { type Pool, withConnection } from '../store/pool.ts';

export interface CallTurns {
  /** The next calls, a few at most; none: nobody has any. */
  next(): Promise<readonly DueCall[]>;
}

export interface CallTurnsOptions {
  readonly pool: Pool;
  readonly turns: DueTurns;
  /** How many at a time, give or take. */
  readonly limit: number;
  /** How many of one tree. */
  readonly ofTree: number;
}

export function createCallTurns({ pool, turns, limit, ofTree }: CallTurnsOptions): CallTurns {
  let afterProject: string | undefined;
  /** The last tree of each project that has more trees than had a turn. */
  const afterTree = new Map<string, RunId>();

  return {
    async next() {
      return await withConnection(pool, async (tx) => {
        let projects = await dueProjects(tx, turns, afterProject, limit);
        if (projects.length === 0 && afterProject !== undefined)
          projects = await dueProjects(tx, turns, undefined, limit);
        afterProject = projects.length < limit ? undefined : projects.at(-1);
        const each = Math.ceil(limit / Math.max(1, projects.length));
        const found: DueCall[] = [];
        for (const project of projects) {
          const after = afterTree.get(project);
          let due = await dueCalls(tx, turns, project, after, each, ofTree);
          if (due.length === 0 && after !== undefined)
            due = await dueCalls(tx, turns, project, undefined, each, ofTree);
          const trees = new Set(due.map(({ root }) => root));
          const last = [...trees].toSorted().at(-1);
          afterTree.delete(project);
          if (last !== undefined && trees.size === each) afterTree.set(project, last);
          found.push(...due);
        }
        return found;
      });
    },
  };
}
