// Reading driver instances.
import { type DriverPlace, findDriver, listDrivers } from '../store/driver-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { DriverOperations } from './driver-operations.ts';
import { malformedCursor, noSuchDriver } from './refusals.ts';

export interface DriverQueriesOptions {
  readonly pool: Pool;
}

export function createDriverQueries({ pool }: DriverQueriesOptions): Pick<DriverOperations, 'get' | 'list'> {
  return {
    async get(name, instance) {
      const driver = await withConnection(pool, (tx) => findDriver(tx, name, instance));
      if (driver === undefined) throw noSuchDriver(name, instance);
      return driver;
    },
    async list({ name, includeGone }, { size, after }) {
      const place = after === undefined ? undefined : parsePlace(after);
      return await withConnection(pool, (tx) => listDrivers(tx, { name, includeGone, size, after: place }));
    },
  };
}

/** A driver name holds no `/`. */
function parsePlace(text: string): DriverPlace {
  const slash = text.indexOf('/');
  if (slash === -1) throw malformedCursor();
  return { name: text.slice(0, slash), instance: text.slice(slash + 1) };
}
