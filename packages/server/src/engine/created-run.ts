// What becomes of a request to create a run: a new one, or the one that an earlier request with the same id created.
import type { RunId } from '../core/ids.ts';
import type { RunView } from '../core/views.ts';

export interface CreatedRun {
  readonly runId: RunId;
  /** The run as it was created; undefined when an earlier request created it: what it is now has to be read. */
  readonly view: RunView | undefined;
}
