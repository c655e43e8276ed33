// What is said of a pipeline that is not there: perhaps which one was meant.
import type { RefusedError } from '../core/refusal.ts';
import { pipelineNamesLike } from '../store/called-pipelines.ts';
import type { Tx } from '../store/sql.ts';
import { MAX_NAMES } from './call-check.ts';
import { noSuchPipeline } from './refusals.ts';

export async function unknownPipeline(tx: Tx, project: string, name: string): Promise<RefusedError> {
  return noSuchPipeline(name, await pipelineNamesLike(tx, project, [name], MAX_NAMES));
}
