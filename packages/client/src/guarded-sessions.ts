// HTTP/2 connections of connect-node, which pings one that is gone already when its last stream closes after it. Node throws at that, in
// a timer, where nobody can catch it (connect-node 2.2.0, with pingIdleConnection).
import type { ClientHttp2Stream, Http2Session } from 'node:http2';
import { Http2SessionManager } from '@connectrpc/connect-node';

export class GuardedSessions extends Http2SessionManager {
  readonly #guarded = new WeakSet<Http2Session>();

  override async request(...call: Parameters<Http2SessionManager['request']>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...call);
    const { session } = stream;
    if (session !== undefined && !this.#guarded.has(session)) {
      this.#guarded.add(session);
      guardPings(session);
    }
    return stream;
  }
}

/** What is gone answers no ping. */
function guardPings(session: Http2Session): void {
  const ping = session.ping.bind(session) as (...given: unknown[]) => boolean;
  session.ping = (...given: unknown[]): boolean => !session.destroyed && ping(...given);
}
