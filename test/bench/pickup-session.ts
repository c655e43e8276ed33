// A driver for `bench pickup` that speaks the session itself, since no driver runtime shows when an offer came. Asked for a
// run, it answers when that run's offer and start have come.
import { type MessageInitShape, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import {
  type DriverFrameSchema,
  FinishOutcome,
  type ServerFrame,
  SessionRequestSchema,
  SessionResponseSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import { answer, childSettings } from './child.ts';
import { monotonicMs } from './monotonic-clock.ts';
import { createPickups } from './pickups.ts';

export interface PickupSettings {
  readonly address: string;
  readonly token: string;
}

export interface PickedUpRun {
  readonly runId: string;
}

/** When, by the clock that processes share. */
export interface SessionPickup {
  readonly offerMs: number;
  readonly startMs: number;
}

export const sessionDriverName = 'bench-session';

async function main(): Promise<void> {
  const { address, token } = childSettings<PickupSettings>();
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const stream = new Client(address, credentials.createInsecure()).makeBidiStreamRequest(
    `/${DriverService.typeName}/${DriverService.method.session.name}`,
    (frame: MessageInitShape<typeof DriverFrameSchema>) =>
      Buffer.from(toBinary(SessionRequestSchema, create(SessionRequestSchema, { frames: [frame] }))),
    (bytes) => fromBinary(SessionResponseSchema, bytes),
    metadata,
  );
  const pickups = createPickups<SessionPickup>();
  const offers = new Map<string, { runId: string; offerMs: number }>();

  const handle = ({ frame }: ServerFrame): void => {
    if (frame.case === 'welcome') {
      const beatMs = Number(frame.value.heartbeatInterval?.seconds ?? 1n) * 1000;
      let seq = 0n;
      setInterval(() => stream.write({ frame: { case: 'heartbeat', value: { seq: ++seq } } }), beatMs);
      answer<PickedUpRun, SessionPickup>(({ runId }) => pickups.of(runId));
    } else if (frame.case === 'offer') {
      const { attemptId, fence, runId } = frame.value;
      offers.set(attemptId, { runId, offerMs: monotonicMs() });
      stream.write({ frame: { case: 'accept', value: { attemptId, fence } } });
    } else if (frame.case === 'start') {
      const { attemptId, fence } = frame.value;
      const offer = offers.get(attemptId);
      if (offer === undefined) throw new Error(`a start without an offer: ${attemptId}`);
      pickups.add(offer.runId, { offerMs: offer.offerMs, startMs: monotonicMs() });
      offers.delete(attemptId);
      stream.write({ frame: { case: 'finish', value: { attemptId, fence, outcome: FinishOutcome.SUCCEEDED } } });
    }
  };
  stream.on('data', ({ frames }: { frames: ServerFrame[] }) => frames.forEach(handle));
  stream.write({
    frame: {
      case: 'hello',
      value: {
        protocolVersion: 1,
        driver: sessionDriverName,
        instanceId: 'bench-session-1',
        incarnation: crypto.getRandomValues(new Uint8Array(16)),
        slots: 1,
      },
    },
  });
}

if (import.meta.main) await main();
