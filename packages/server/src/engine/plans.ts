// The plans that this replica has compiled, newest used last, at most as many as have so many jobs together. A definition never
// changes, so a plan found here is right whatever the database says meanwhile.
import { compilePlan, type Plan } from '../core/plan.ts';
import type { Definition } from '../core/definition.ts';
import { type DefinitionDigest, loadDefinitions } from '../store/definition-rows.ts';
import type { Tx } from '../store/sql.ts';

const MAX_JOBS = 200_000;

export interface Plans {
  /** Remembers a definition that is, or is about to be, stored. */
  put(digest: DefinitionDigest, definition: Definition): Plan;
  find(digest: DefinitionDigest): Plan | undefined;
  /** The plan of each digest; what is not known is loaded on the given connection. A missing definition throws. */
  load(tx: Tx, digests: Iterable<DefinitionDigest>): Promise<ReadonlyMap<DefinitionDigest, Plan>>;
}

export function createPlans(): Plans {
  const plans = new Map<DefinitionDigest, Plan>();
  let jobs = 0;

  function find(digest: DefinitionDigest): Plan | undefined {
    const plan = plans.get(digest);
    if (plan === undefined) return undefined;
    plans.delete(digest);
    plans.set(digest, plan);
    return plan;
  }

  function put(digest: DefinitionDigest, definition: Definition): Plan {
    const known = find(digest);
    if (known !== undefined) return known;
    const plan = compilePlan(definition);
    plans.set(digest, plan);
    jobs += plan.jobs.length;
    for (const [oldest, { jobs: dropped }] of plans) {
      if (jobs <= MAX_JOBS || plans.size === 1) break;
      plans.delete(oldest);
      jobs -= dropped.length;
    }
    return plan;
  }

  return {
    put,
    find,
    async load(tx, digests) {
      const found = new Map<DefinitionDigest, Plan>();
      const missing: DefinitionDigest[] = [];
      for (const digest of new Set(digests)) {
        const plan = find(digest);
        if (plan === undefined) missing.push(digest);
        else found.set(digest, plan);
      }
      if (missing.length === 0) return found;
      const loaded = await loadDefinitions(tx, missing);
      for (const digest of missing) {
        const definition = loaded.get(digest);
        if (definition === undefined) throw new Error(`definition ${digest} is not stored`);
        found.set(digest, put(digest, definition));
      }
      return found;
    },
  };
}
