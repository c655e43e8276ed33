// Who may call what. Every call but health and reflection needs a bearer token; it is looked at before the body is read.
import { type HandlerContext } from '@connectrpc/connect';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { LIMITS } from '../core/limits.ts';
import { RefusedError } from '../core/refusal.ts';
import type { Principal } from '../engine/engine.ts';

/** Finds who calls by the headers of a call; undefined when nobody is known by them. */
export type Authenticate = (headers: Headers) => Promise<Principal | undefined>;

export interface Access {
  /** Admits a call of any method but Session. @throws RefusedError TOKEN_INVALID, TOKEN_FORBIDS, LIMIT_REACHED */
  admit(context: HandlerContext): Promise<void>;
  /** Admits a driver session and says whose it is. @throws RefusedError TOKEN_INVALID */
  admitSession(headers: Headers): Promise<Principal>;
}

const BEARER = /^Bearer +(\S{1,1024})$/i;

/** @param authenticate Takes the place of bearer tokens when an embedding program has its own. */
export function createAccess(authenticate: Authenticate): Access {
  async function identify(headers: Headers): Promise<Principal> {
    const principal = await authenticate(headers);
    if (principal !== undefined) return principal;
    const message = headers.has('authorization')
      ? 'the token is not known, or the authorization header is not `Bearer TOKEN`'
      : 'a token is needed: send the header `authorization: Bearer TOKEN`';
    throw new RefusedError({ refused: 'TOKEN_INVALID', message });
  }

  return {
    async admit({ requestHeader, method }) {
      refuseOversize(requestHeader);
      const { role } = await identify(requestHeader);
      if (role === 'operator' || method.parent === ServerService) return;
      throw new RefusedError({
        refused: 'TOKEN_FORBIDS',
        message: `a driver token opens sessions only; ${method.name} needs an operator token`,
      });
    },
    admitSession: identify,
  };
}

/** Reads the bearer token that a call carries. */
export function bearerToken(headers: Headers): string | undefined {
  return BEARER.exec(headers.get('authorization') ?? '')?.[1];
}

/** Refuses by its announced length what would be refused anyway once it was read. */
function refuseOversize(headers: Headers): void {
  const bytes = Number(headers.get('content-length') ?? 0);
  if (bytes > LIMITS.requestBytes) throw new RefusedError(requestTooLarge(bytes));
}

/** Why a message of this size is refused. */
export function requestTooLarge(bytes: number) {
  return {
    refused: 'LIMIT_REACHED',
    message: `the request has ${bytes} bytes; at most ${LIMITS.requestBytes} are taken`,
    metadata: { limit: 'max_request_bytes', max: String(LIMITS.requestBytes) },
  } as const;
}
