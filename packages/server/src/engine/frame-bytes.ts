// What a frame of a driver keeps in memory while it waits, roughly: its content, and as much again as any frame takes.
import type { DriverFrame } from '../core/frames.ts';

const FRAME_BYTES = 256;

export function frameBytes(frame: DriverFrame): number {
  switch (frame.type) {
    case 'Log':
      return FRAME_BYTES + frame.data.length;
    case 'Output':
      return FRAME_BYTES + frame.name.length + JSON.stringify(frame.value).length;
    case 'DeclareArtifact': {
      const { name, digest, uri, mediaType } = frame.artifact;
      return FRAME_BYTES + name.length + digest.length + uri.length + mediaType.length;
    }
    case 'AppendJobs':
      return FRAME_BYTES + JSON.stringify(frame.jobs).length;
    case 'GetValue':
    case 'DeleteValue':
      return FRAME_BYTES + frame.name.length;
    case 'SetValue':
      return FRAME_BYTES + frame.name.length + JSON.stringify(frame.value).length;
    case 'Checkpoint':
      return FRAME_BYTES + frame.handle.length;
    case 'Section':
      return FRAME_BYTES + frame.section.name.length;
    case 'Progress':
      return FRAME_BYTES + frame.progress.message.length;
    case 'Annotation':
      return FRAME_BYTES + frame.annotation.text.length + frame.annotation.link.length;
    case 'Finish':
      return FRAME_BYTES + frame.message.length;
    case 'Reject':
    case 'Goodbye':
      return FRAME_BYTES + frame.reason.length;
    case 'Malformed':
      return FRAME_BYTES + frame.problem.length;
    case 'Heartbeat':
    case 'Slots':
    case 'Drain':
    case 'Adopt':
    case 'Disown':
    case 'Accept':
    case 'Misaddressed':
      return FRAME_BYTES;
  }
}
