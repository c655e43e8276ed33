// Optional abilities of a control plane that drivers may use. What an older build would not understand is not told of while one serves.
import { ARTIFACT_VERSION, LANGUAGE_VERSION, VALUES_VERSION } from './event-versions.ts';

/** The ability to take artifacts of attempts. */
export const ARTIFACTS = 'artifacts';

/** @param eventVersion The newest version of events that every live replica knows. */
export function capabilitiesOf(eventVersion: number): readonly string[] {
  return [
    ...(eventVersion < VALUES_VERSION ? [] : ['values']),
    ...(eventVersion < ARTIFACT_VERSION ? [] : [ARTIFACTS]),
    ...(eventVersion < LANGUAGE_VERSION ? [] : ['append_jobs']),
  ];
}
