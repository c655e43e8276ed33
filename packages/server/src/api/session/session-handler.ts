// Registers DriverService.Session with a gRPC server: who may open a session, and how many there are.
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import type { Server } from '@grpc/grpc-js';
import { LIMITS } from '../../core/limits.ts';
import { RefusedError } from '../../core/refusal.ts';
import type { DriverOperations } from '../../engine/driver-operations.ts';
import type { Principal } from '../../engine/engine.ts';
import type { Access } from '../access.ts';
import { type CallPolicy, SERVER_STOPPING } from '../call-policy.ts';
import { asBytes } from '../grpc/call-adapter.ts';
import { headersOf } from '../grpc/grpc-metadata.ts';
import { grpcStatus } from '../grpc/grpc-status.ts';
import { serveSession, type SessionStream } from './session-stream.ts';

export interface SessionOptions {
  readonly drivers: DriverOperations;
  readonly access: Access;
  readonly explain: CallPolicy['explain'];
  /** Aborted once no session may begin any more. */
  readonly stopping: AbortSignal;
}

/** At most `LIMITS.sessions` streams are open at a time. */
export function registerSessions(server: Server, { drivers, access, explain, stopping }: SessionOptions): void {
  let open = 0;

  async function admit(stream: SessionStream): Promise<Principal> {
    if (stopping.aborted) throw SERVER_STOPPING;
    if (open > LIMITS.sessions) {
      throw new RefusedError({
        refused: 'LIMIT_REACHED',
        message: `this server has ${LIMITS.sessions} driver sessions, as many as it takes; connect to another one`,
        metadata: { limit: 'max_sessions', max: String(LIMITS.sessions) },
      });
    }
    return access.admitSession(headersOf(stream.metadata));
  }

  function handle(stream: SessionStream): void {
    open++;
    stream.once('close', () => open--);
    admit(stream).then(
      (principal) => serveSession(stream, { principal, drivers, explain }),
      (error: unknown) => stream.emit('error', grpcStatus(explain(error))),
    );
  }

  const { typeName, method } = DriverService;
  server.register(`/${typeName}/${method.session.name}`, handle, asBytes, asBytes, 'bidi');
}
