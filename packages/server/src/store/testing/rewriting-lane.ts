// Owns a lane that runs other SQL than it was asked to, so that a test can see that what a statement protects is noticed when it is gone.
import type { Lane } from '../lane.ts';
import type { Tx } from '../sql.ts';

/** What some statements say instead, by name. */
export type Rewrites = Readonly<Record<string, (text: string) => string>>;

export function rewriting(lane: Lane, rewrites: Rewrites): Lane {
  const wrap = (client: Tx): Tx =>
    new Proxy(client, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown =>
          Reflect.apply(value, target, property === 'query' ? rewritten(args, rewrites) : args);
      },
    });
  return { ...lane, use: (work, signal) => lane.use((client) => work(wrap(client)), signal) };
}

function rewritten([query, ...rest]: unknown[], rewrites: Rewrites): unknown[] {
  const { name, text } = query as { readonly name?: string; readonly text?: string };
  const rewrite = name === undefined ? undefined : rewrites[name];
  if (rewrite === undefined || text === undefined) return [query, ...rest];
  return [{ ...(query as object), text: rewrite(text) }, ...rest];
}
