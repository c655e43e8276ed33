// Where drivers have their sessions, and how long they take to have them elsewhere.
import { untilTrue } from './eventually.ts';
import type { Place } from './place.ts';
import type { Stage } from './stage.ts';

export interface Hosting {
  /** Where the first driver has its session. */
  readonly host: Place;
  readonly others: readonly Place[];
  /** Every instance that has its session there, with its epoch. */
  readonly guests: ReadonlyMap<string, number>;
}

/** Finds where the first driver is. */
export async function findHosting(stage: Stage): Promise<Hosting> {
  const instances = await stage.system.query<{ instance: string; replica: string; epoch: number }>(
    'select instance, replica, epoch from instances',
  );
  const replica = instances.find(({ instance }) => instance === stage.drivers[0]?.instanceId)?.replica;
  const replicas = await Promise.all(
    stage.places.map(async (place) => ({ place, id: (await place.client.server.info()).replica })),
  );
  const host = replicas.find(({ id }) => id === replica)?.place;
  if (host === undefined) throw new Error('the first driver has no session anywhere');
  return {
    host,
    others: stage.places.filter((place) => place !== host),
    guests: new Map(instances.filter((one) => one.replica === replica).map(({ instance, epoch }) => [instance, epoch])),
  };
}

/** Waits until every guest was welcomed by a later session. Returns how long that took from the given time on. */
export async function untilMoved(stage: Stage, { guests }: Hosting, sinceMs: number): Promise<number> {
  let lastMs = sinceMs;
  await untilTrue('the move of all drivers', async () => {
    const welcomed = new Map<string, number>();
    const instances = new Map<string, string>();
    for (const entry of await stage.journal()) {
      if ('say' in entry && entry.say === 'hello') instances.set(entry.session, entry.instance);
      if (!('hear' in entry) || entry.hear !== 'welcome') continue;
      const instance = instances.get(entry.session) ?? '';
      if (entry.epoch > (guests.get(instance) ?? 0) && !welcomed.has(instance)) welcomed.set(instance, entry.atMs);
    }
    const times = [...guests.keys()].map((instance) => welcomed.get(instance));
    if (times.some((time) => time === undefined)) return false;
    lastMs = Math.max(...times.map(Number));
    return true;
  });
  return lastMs - sinceMs;
}

/** How many attempts were lost with a lease, or given back by a driver that left. */
export async function lostAttempts(stage: Stage): Promise<number> {
  const [row] = await stage.system.query<{ lost: number }>(
    `select count(*) as lost from attempts where state = 'LOST' and project = 'default'`,
  );
  return row?.lost ?? 0;
}

export function limitPassed(what: string, took: number, limit: number): string[] {
  return took <= limit ? [] : [`${what}: ${Math.round(took)} ms, and at most ${limit} are promised`];
}
