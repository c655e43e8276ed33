// The four frames that every job takes, written by hand: the generic encoder needs three to five times as long for them. Its bytes
// are the measure (encode-frames.test.ts): field numbers are those of driver_session.proto.
import { LeaseDoubt } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { Offer, ServerFrame, Start } from '../../core/frames.ts';
import { type AttemptKey, formatAttemptId, formatJobId } from '../../core/ids.ts';
import { WireWriter } from './wire-writer.ts';

const writer = new WireWriter();

/** The bytes of a ServerFrame; undefined when it is not one of the four, or carries what is rare. */
export function encodeHotFrame(frame: ServerFrame): Uint8Array | undefined {
  switch (frame.type) {
    case 'Offer':
      return encoded(2, () => writeOffer(frame));
    case 'Start':
      return isPlain(frame) ? encoded(3, () => writeStart(frame)) : undefined;
    case 'LogAck':
      return encoded(5, () => {
        writeAddress(frame.key);
        writer.integer(3, frame.offset);
        writer.integer(4, frame.windowEnd);
        writer.integer(5, Number(frame.gap));
      });
    case 'FinishAck':
      return encoded(7, () => {
        writeAddress(frame.key);
        writer.integer(3, LogState[frame.logState]);
      });
    case 'Welcome':
    case 'Pulse':
    case 'Cancel':
    case 'LogMissing':
    case 'ValueAnswer':
    case 'AppendAnswer':
    case 'Drain':
    case 'Revoke':
      return undefined;
  }
}

function encoded(field: number, write: () => void): Uint8Array {
  const mark = writer.begin(field);
  write();
  writer.end(mark);
  return writer.take();
}

/** The fence of an attempt is its number. */
function writeAddress(key: AttemptKey): void {
  writer.text(1, formatAttemptId(key));
  writer.integer(2, key.attempt);
}

function isPlain({ needs, secrets, resumed }: Start): boolean {
  return !resumed && isEmpty(needs) && isEmpty(secrets);
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}

function writeStart({ key, timeLeftMs }: Start): void {
  writeAddress(key);
  if (timeLeftMs !== undefined) writer.duration(5, timeLeftMs);
}

function writeOffer(offer: Offer): void {
  const { key, runTimeoutMs, silenceTimeoutMs } = offer;
  writeAddress(key);
  writer.text(3, offer.project);
  writer.text(4, key.runId);
  writer.text(5, formatJobId(key));
  writer.text(6, offer.jobName);
  writer.struct(7, offer.spec);
  writer.struct(8, offer.params);
  writer.text(9, offer.pipeline);
  writer.duration(10, offer.offerTimeoutMs);
  if (runTimeoutMs !== undefined) writer.duration(11, runTimeoutMs);
  writer.duration(12, offer.cancelGraceMs);
  writer.integer(13, LeaseDoubt[offer.onLeaseDoubt]);
  writer.text(14, offer.traceparent);
  if (silenceTimeoutMs !== undefined) writer.duration(15, silenceTimeoutMs);
  if (offer.pool !== undefined) writer.text(16, offer.pool);
}
