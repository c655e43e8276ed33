// What drivers take as specs. A driver's live instances speak for it; while it has none, all that were ever known do. Known from
// the database as of at most a second ago.
import { compileSchema, type Schema } from '../core/json-schema.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { driverNames, loadSchemas, publishedSchemas, type SchemaRef } from '../store/spec-schemas.ts';
import type { Tx } from '../store/sql.ts';

const FRESH_MS = 1_000;
// Beyond these, everything is forgotten and read again.
const MAX_DRIVERS = 1_000;
const MAX_SCHEMAS = 200;
/** Among which the one that was meant is looked for. */
const MAX_NAMES = 1_000;

/** Nobody knows; any spec; or one that fits at least one of these schemas, of which that of the newest session comes first. */
export type Accepted = 'UNKNOWN' | 'ANY' | readonly Schema[];

export interface DriverSchemas {
  acceptedBy(drivers: ReadonlySet<string>): Promise<ReadonlyMap<string, Accepted>>;
  /** The names of drivers that ever connected, the first thousand. */
  names(): Promise<readonly string[]>;
}

interface Reading {
  /** Of several drivers, this one among them. */
  readonly accepted: Promise<ReadonlyMap<string, Accepted>>;
  readonly untilMs: number;
}

export function createDriverSchemas(pool: Pool): DriverSchemas {
  const readings = new Map<string, Reading>();
  // By `<driver>/<digest>`; a schema never changes.
  const compiled = new Map<string, Schema>();
  let named: { readonly names: Promise<readonly string[]>; readonly untilMs: number } | undefined;

  async function read(tx: Tx, drivers: readonly string[]): Promise<Map<string, Accepted>> {
    const published = Map.groupBy(await publishedSchemas(tx, drivers), ({ driver }) => driver);
    const speaking = [...published.values()].flatMap((all) => {
      const live = all.filter((schema) => schema.live);
      return live.length > 0 ? live : all;
    });
    const refs = speaking.filter((schema): schema is typeof schema & SchemaRef => schema.digest !== undefined);
    if (compiled.size > MAX_SCHEMAS) compiled.clear();
    await compileMissing(tx, refs);
    return new Map(
      drivers.map((driver): [string, Accepted] => {
        const own = speaking.filter((schema) => schema.driver === driver);
        if (own.length === 0) return [driver, 'UNKNOWN'];
        const schemas = own.flatMap(({ digest }) => compiled.get(`${driver}/${digest}`) ?? []);
        // An instance without a schema takes any spec, and so does one whose schema this version cannot compile.
        return [driver, schemas.length < own.length ? 'ANY' : schemas];
      }),
    );
  }

  async function compileMissing(tx: Tx, refs: readonly SchemaRef[]): Promise<void> {
    const missing = refs.filter(({ driver, digest }) => !compiled.has(`${driver}/${digest}`));
    for (const { driver, digest, body } of await loadSchemas(tx, missing)) {
      const schema = compileSchema([], 'spec_schema', body);
      if (schema !== undefined) compiled.set(`${driver}/${digest}`, schema);
    }
  }

  function startReading(drivers: readonly string[]): void {
    if (readings.size > MAX_DRIVERS) readings.clear();
    const accepted = withConnection(pool, (tx) => read(tx, drivers));
    const reading = { accepted, untilMs: performance.now() + FRESH_MS };
    for (const driver of drivers) readings.set(driver, reading);
    const forget = (driver: string) => {
      if (readings.get(driver) === reading) readings.delete(driver);
    };
    accepted.then(
      // A driver that connects for the first time is known at once.
      (known) => drivers.filter((driver) => known.get(driver) === 'UNKNOWN').forEach(forget),
      () => drivers.forEach(forget),
    );
  }

  return {
    async acceptedBy(drivers) {
      const nowMs = performance.now();
      const stale = [...drivers].filter((driver) => (readings.get(driver)?.untilMs ?? 0) <= nowMs);
      if (stale.length > 0) startReading(stale);
      const wanted = [...drivers].map((driver) => [driver, readings.get(driver)?.accepted] as const);
      const accepted = new Map<string, Accepted>();
      for (const [driver, reading] of wanted) accepted.set(driver, (await reading)?.get(driver) ?? 'UNKNOWN');
      return accepted;
    },
    names() {
      const nowMs = performance.now();
      if (named !== undefined && nowMs < named.untilMs) return named.names;
      const reading = { names: withConnection(pool, (tx) => driverNames(tx, MAX_NAMES)), untilMs: nowMs + FRESH_MS };
      reading.names.catch(() => {
        if (named === reading) named = undefined;
      });
      named = reading;
      return reading.names;
    },
  };
}
