// Which of the runs that are created for calls may be: those whose calls still want one, in trees that have room.
import { formatJobId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { Refusal } from '../core/refusal.ts';
import { takeCalls } from '../store/call-trees.ts';
import { releaseRequestIds } from '../store/run-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { RunToBegin } from './begin-run.ts';

/** That the tree of a call may have no more runs. */
export const CALL_TREE_FULL: Refusal = {
  refused: 'LIMIT_REACHED',
  message:
    `the calls that its first run led to have made ${LIMITS.callTreeRuns} runs, and no more are made: ` +
    'look for a pipeline that calls itself, or start a part of them by runs of their own',
  metadata: { limit: 'call_tree_runs', max: `${LIMITS.callTreeRuns}` },
};

/** Somebody else makes it, or the call is to end. */
const NO_RUN_WANTED: Refusal = { refused: 'NOT_WAITING', message: 'the call waits for no run now' };

/** Links the calls with the runs that are created for them. Returns those of the runs that are not, and gives back their request ids. */
export async function refuseUnwanted<Item extends RunToBegin>(
  tx: Tx,
  items: readonly Item[],
): Promise<ReadonlyMap<Item, Refusal>> {
  const wanted = items.flatMap((item) => {
    const { call } = item.run;
    return call === undefined ? [] : [{ item, key: call, child: item.runId }];
  });
  if (wanted.length === 0) return new Map();
  const taken = await takeCalls(tx, wanted);
  const refused = wanted.filter(({ key }) => taken.get(formatJobId(key)) !== 'TAKEN');
  if (refused.length === 0) return new Map();
  await releaseRequestIds(
    tx,
    refused.flatMap(({ item: { run } }) =>
      run.request === undefined ? [] : [{ project: run.project, requestId: run.request.id }],
    ),
  );
  return new Map(
    refused.map(({ item, key }) => [item, taken.get(formatJobId(key)) === 'FULL' ? CALL_TREE_FULL : NO_RUN_WANTED]),
  );
}
