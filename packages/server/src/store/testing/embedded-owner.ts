// Owns an embedded PostgreSQL as a process of its own, so that tests can kill the owner. Prints one line of JSON when
// ready (an OwnerReport), and stops in order once its input ends.
import { once } from 'node:events';
import { type EmbeddedConnection, startEmbeddedPostgres } from '../embedded/embedded-postgres.ts';
import { DatabaseStartError } from '../start-error.ts';

/** What the process prints. */
export type OwnerReport =
  | { readonly connection: EmbeddedConnection }
  | { readonly refusal: DatabaseStartError['reason']; readonly message: string };

const [dataDir = ''] = process.argv.slice(2);
const print = (report: OwnerReport): void => console.log(JSON.stringify(report));
try {
  const postgres = await startEmbeddedPostgres({ dataDir });
  print({ connection: postgres.connection });
  process.stdin.resume();
  await once(process.stdin, 'end');
  await postgres[Symbol.asyncDispose]();
} catch (error) {
  if (!(error instanceof DatabaseStartError)) throw error;
  print({ refusal: error.reason, message: error.message });
}
