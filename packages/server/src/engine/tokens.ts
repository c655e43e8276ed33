// Bearer tokens: those that a data directory holds for its host's CLI and drivers, and who holds the one that a call carries. The
// database knows digests only, so a lost file cannot be written again: a new token replaces the old one.
import { createHash, randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import { dropTokens, findToken, lockTokens, putToken, type TokenGrant } from '../store/tokens.ts';
import type { Principal } from './engine.ts';
import type { Log } from './log.ts';
import { keepText } from './token-files.ts';

const PREFIX = { operator: 'cvop_', driver: 'cvdr_' } as const;
const TOKEN = /^cv(op|dr)_[A-Za-z0-9_-]{43}$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export interface EnsureTokensOptions {
  readonly pool: Pool;
  /** Made with mode 0700 when it is not there. */
  readonly dataDir: string;
  readonly log: Log;
  /**
   * More driver tokens, each limited to driver names, by the name of their file: `{ builders: ['builder'] }` keeps a token for the
   * driver `builder` in `builders.token`. One that is no longer listed becomes invalid. Default: none.
   */
  readonly driverTokens?: Readonly<Record<string, readonly string[]>>;
}

/**
 * Sees to it that the tokens of a data directory are in its files and valid: `operator.token`, and `driver.token` for every driver
 * name. Tokens of other data directories over the same database stay as they are.
 */
export async function ensureTokens({ pool, dataDir, log, driverTokens = {} }: EnsureTokensOptions): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // Tells the tokens of this directory from those of others, also when their files are lost.
  const { text: home } = await keepText(join(dataDir, 'tokens.id'), () => randomBytes(8).toString('hex'));
  const grants: [string, TokenGrant][] = [
    ['operator', { id: `operator.${home}`, role: 'operator', driverNames: undefined }],
    ['driver', { id: `driver.${home}`, role: 'driver', driverNames: undefined }],
  ];
  for (const [name, driverNames] of Object.entries(driverTokens)) {
    if (!NAME.test(name) || name in PREFIX)
      throw new Error(`${name} cannot name a driver token: use other letters a-z, 0-9 and -`);
    grants.push([name, { id: `${name}.${home}`, role: 'driver', driverNames }]);
  }
  for (const [name, grant] of grants) await ensureToken(pool, join(dataDir, `${name}.token`), grant, log);
  const kept = grants.map(([, { id }]) => id);
  const dropped = await withConnection(pool, (tx) => dropTokens(tx, `.${home}`, kept));
  if (dropped.length > 0)
    log.warn({ tokens: dropped }, 'driver tokens are no longer configured and not valid any more');
}

async function ensureToken(pool: Pool, path: string, grant: TokenGrant, log: Log): Promise<void> {
  const { text, isNew } = await keepText(path, () => PREFIX[grant.role] + randomBytes(32).toString('base64url'));
  if (!TOKEN.test(text) || !text.startsWith(PREFIX[grant.role])) {
    throw new Error(`${path} does not hold a token of a ${grant.role}: remove the file to have a new one made`);
  }
  const replaced = await withTransaction(pool, async (tx) => {
    await lockTokens(tx);
    const holder = await findToken(tx, digestOf(text));
    // A file that was copied from another data directory holds a token that is valid there.
    return holder !== undefined && holder.id !== grant.id ? false : await putToken(tx, digestOf(text), grant);
  });
  const fields = { token: grant.id, file: path };
  if (isNew && replaced) log.warn(fields, 'token file was lost: a new token replaces the old one');
  else if (isNew) log.info(fields, 'token made');
}

const FRESH_MS = 5_000;
/** Beyond these, every cached token is forgotten. */
const MAX_CACHED = 1_000;

export interface TokenReader {
  /** Finds who holds a bearer token, as of a few seconds ago; undefined when nobody does. */
  authenticateToken(token: string): Promise<Principal | undefined>;
}

export function createTokenReader({ pool }: { readonly pool: Pool }): TokenReader {
  const cache = new Map<string, { readonly principal: Promise<Principal | undefined>; readonly untilMs: number }>();

  function find(digest: Buffer): Promise<Principal | undefined> {
    return withConnection(pool, async (tx) => {
      const grant = await findToken(tx, digest);
      if (grant === undefined) return undefined;
      const { id, role, driverNames } = grant;
      return { id, role, ...(driverNames !== undefined && { driverNames }) };
    });
  }

  return {
    async authenticateToken(token) {
      if (!TOKEN.test(token)) return undefined;
      // Looked up by digest, so the time that it takes tells nothing of the tokens that are stored.
      const digest = digestOf(token);
      const key = digest.toString('base64');
      const cached = cache.get(key);
      if (cached !== undefined && cached.untilMs > performance.now()) return await cached.principal;
      if (cache.size >= MAX_CACHED) cache.clear();
      const entry = { principal: find(digest), untilMs: performance.now() + FRESH_MS };
      cache.set(key, entry);
      // Only who was found is remembered: a token that is made later is valid at once.
      let found: Principal | undefined;
      try {
        found = await entry.principal;
      } finally {
        if (found === undefined && cache.get(key) === entry) cache.delete(key);
      }
      return found;
    },
  };
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
