// Stands between a driver and its gRPC client, without a word in the driver: writes down every frame of its sessions and, when it is
// told to, repeats frames and has those of different attempts change places, as a bad network stack might.
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type DriverFrame,
  type Finish,
  type ServerFrame,
  SessionRequestSchema,
  SessionResponseSchema,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { Client } from '@grpc/grpc-js';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import type { Random } from '../random.ts';
import type { Heard, JournalEntry, Said } from './journal.ts';

export interface TapOptions {
  readonly write: (entry: JournalEntry) => void;
  /** Chooses which frames to repeat and to reorder. Default: none. */
  readonly meddle?: Random | undefined;
}

/** Taps every session that this process opens, until it is disposed. */
export function tapSessions({ write, meddle }: TapOptions): Disposable {
  const original: Client['makeBidiStreamRequest'] = Reflect.get(Client.prototype, 'makeBidiStreamRequest');
  let opened = 0;

  function tapped(this: Client, ...given: Parameters<Client['makeBidiStreamRequest']>): unknown {
    const [path, serialize, deserialize, ...rest] = given;
    const session = `${process.pid}-${++opened}`;
    const note = (entry: Said | Heard): void => write({ session, atMs: monotonicMs(), ...entry });

    const say = (value: unknown): Buffer => {
      const message = serialize(value);
      const frames = fromBinary(SessionRequestSchema, message).frames;
      const sent = meddle === undefined ? frames : disturb(frames, meddle);
      for (const frame of sent) noteSaid(note, frame);
      if (sent === frames) return message;
      note({ say: 'meddled', frames: sent.length - frames.length + countMoved(frames, sent) });
      return Buffer.from(toBinary(SessionRequestSchema, create(SessionRequestSchema, { frames: sent })));
    };
    const hear = (bytes: Buffer): unknown => {
      for (const frame of fromBinary(SessionResponseSchema, bytes).frames) noteHeard(note, frame);
      return deserialize(bytes);
    };

    const stream = Reflect.apply(original, this, [path, say, hear, ...rest]);
    stream.on('status', ({ code }: { code: number }) => note({ hear: 'end', code }));
    return stream;
  }

  Client.prototype.makeBidiStreamRequest = tapped as typeof original;
  return {
    [Symbol.dispose]() {
      Client.prototype.makeBidiStreamRequest = original;
    },
  };
}

function noteSaid(note: (entry: Said) => void, { frame }: DriverFrame): void {
  switch (frame.case) {
    case 'hello': {
      const { driver, instanceId: instance, held } = frame.value;
      return note({ say: 'hello', driver, instance, held: held.map(({ attemptId }) => attemptId) });
    }
    case 'log': {
      const { attemptId: attempt, fence, offset, data } = frame.value;
      const sha256 = createHash('sha256').update(data).digest('hex');
      return note({ say: 'log', attempt, fence, offset: Number(offset), length: data.length, sha256 });
    }
    case 'finish':
      return note({ say: 'finish', ...addressIn(frame.value), result: resultIn(frame.value) });
    case 'accept':
    case 'reject':
    case 'adopt':
    case 'disown':
      return note({ say: frame.case, ...addressIn(frame.value) });
    case 'section':
    case 'output':
    case 'progress':
    case 'annotation':
    case 'checkpoint':
    case 'declareArtifact':
    case 'appendJobs':
    case 'getValue':
    case 'setValue':
    case 'deleteValue':
      return note({ say: 'report', ...addressIn(frame.value) });
    case 'goodbye':
      return note({ say: 'goodbye' });
    case 'heartbeat':
    case 'slots':
    case 'drain':
    case undefined:
      return;
  }
}

function noteHeard(note: (entry: Heard) => void, { frame }: ServerFrame): void {
  switch (frame.case) {
    case 'welcome': {
      const { epoch, verdicts, orphans } = frame.value;
      const judged = verdicts.map((verdict) => ({
        ...addressIn(verdict),
        kind: VerdictKind[verdict.kind],
        offset: Number(verdict.logOffset),
      }));
      const left = orphans.flatMap(({ offer }) => offer?.attemptId ?? []);
      return note({ hear: 'welcome', epoch: Number(epoch), verdicts: judged, orphans: left });
    }
    case 'logAck':
      return note({ hear: 'logAck', ...addressIn(frame.value), offset: Number(frame.value.offset) });
    case 'offer':
    case 'start':
    case 'cancel':
    case 'finishAck':
    case 'logMissing':
    case 'revoke':
      return note({ hear: frame.case, ...addressIn(frame.value) });
    case 'pulse':
    case 'drain':
    case 'valueAnswer':
    case 'appendAnswer':
    case undefined:
      return;
  }
}

function addressIn({ attemptId, fence }: { readonly attemptId: string; readonly fence: number }) {
  return { attempt: attemptId, fence };
}

/** What tells one result from another. */
function resultIn({ outcome, failureClass, message, exitCode, logSize, logCrc32c, logLost }: Finish): string {
  return JSON.stringify([outcome, failureClass, message, exitCode ?? null, Number(logSize), logCrc32c, logLost]);
}

/** What may be said twice, and in another order than what concerns other attempts. */
function attemptIn({ frame }: DriverFrame): string | undefined {
  return frame.value !== undefined && 'attemptId' in frame.value ? frame.value.attemptId : undefined;
}

/** Repeats some frames, and has attempts take turns in another order; what one attempt says keeps its order. */
function disturb(frames: DriverFrame[], random: Random): DriverFrame[] {
  // What opens or closes the session stays where it is.
  const isOrdered = ({ frame }: DriverFrame): boolean => /^(hello|goodbye|drain)$/.test(frame.case ?? '');
  const attempts = [...new Set(frames.map(attemptIn))];
  if (frames.some(isOrdered) || attempts.every((attempt) => attempt === undefined)) return frames;
  const order = attempts.map((attempt) => ({ attempt, place: random.next() })).toSorted((a, b) => a.place - b.place);
  return order.flatMap(({ attempt }) =>
    frames
      .filter((frame) => attemptIn(frame) === attempt)
      .flatMap((frame) => (attempt !== undefined && random.chance(0.4) ? [frame, frame] : [frame])),
  );
}

function countMoved(before: readonly DriverFrame[], after: readonly DriverFrame[]): number {
  const once = [...new Set(after)];
  return before.filter((frame, index) => once[index] !== frame).length;
}
