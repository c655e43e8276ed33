// Reads Hello, the first frame of a session: all of it must be right.
import {
  HeldPhase,
  type HeldAttempt as HeldMessage,
  type Hello as HelloMessage,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import {
  addViolation,
  checkCount,
  checkLabels,
  checkName,
  checkNumber,
  checkText,
  DRIVER_NAME,
  entryPath,
  type Found,
  INSTANCE_ID,
  POOL_NAME,
  quote,
} from '../../core/check-fields.ts';
import type { HeldAttempt, Hello } from '../../core/frames.ts';
import { parseAttemptId } from '../../core/ids.ts';
import { createCheckWork, takeSchema } from '../../core/check-work.ts';
import { compileSchema } from '../../core/json-schema.ts';
import { LIMITS } from '../../core/limits.ts';
import { decodeCount } from '../request-fields.ts';
import { protocolViolation } from './protocol-violation.ts';

const PROTOCOL_VERSION = 1;
const MAX_CAPABILITIES = 64;

/** @throws RefusedError PROTOCOL_VIOLATION with every wrong field */
export function decodeHello(hello: HelloMessage): Hello {
  const { protocolVersion, driver, instanceId, incarnation, capabilities, labels, slots, version } = hello;
  const { pools, specSchema } = hello;
  const found: Found = [];
  if (protocolVersion !== PROTOCOL_VERSION) {
    addViolation(found, 'hello.protocol_version', `must be ${PROTOCOL_VERSION}; got ${protocolVersion}`);
  }
  checkName(found, 'hello.driver', driver, DRIVER_NAME);
  checkName(found, 'hello.instance_id', instanceId, INSTANCE_ID);
  if (incarnation.length < 16 || incarnation.length > 64) {
    addViolation(found, 'hello.incarnation', `must have 16 to 64 bytes; has ${incarnation.length}`);
  }
  checkCount(found, 'hello.capabilities', capabilities.length, MAX_CAPABILITIES);
  for (const [index, name] of capabilities.entries()) checkText(found, `hello.capabilities[${index}]`, name, 64);
  checkLabels(found, 'hello.labels', labels);
  checkNumber(found, 'hello.slots', slots, { min: 0, max: LIMITS.slots, integer: true });
  checkPools(found, pools);
  if (specSchema !== undefined && takeSchema(found, 'hello.spec_schema', createCheckWork(), specSchema)) {
    compileSchema(found, 'hello.spec_schema', specSchema);
  }
  checkText(found, 'hello.version', version, 128);
  checkCount(found, 'hello.held', hello.held.length, LIMITS.heldAttempts);
  const held = hello.held.flatMap((attempt, index) => decodeHeld(found, `hello.held[${index}]`, attempt));
  checkNamedOnce(found, hello.held);
  if (found.length > 0) {
    const [first] = found;
    throw protocolViolation(`the Hello is malformed: ${first?.field} ${first?.description}`, found);
  }
  return {
    driver,
    instance: instanceId,
    incarnation,
    capabilities,
    labels,
    slots,
    pools,
    ...(specSchema !== undefined && { specSchema }),
    held,
    version,
  };
}

function checkPools(found: Found, pools: Readonly<Record<string, number>>): void {
  const names = Object.keys(pools);
  checkCount(found, 'hello.pools', names.length, LIMITS.pools);
  for (const name of names) {
    if (!POOL_NAME.pattern.test(name)) {
      addViolation(found, 'hello.pools', `has the name ${quote(name)}; names are ${POOL_NAME.rule}`);
    }
    checkNumber(found, entryPath('hello.pools', name), pools[name] ?? 0, { min: 0, max: LIMITS.slots, integer: true });
  }
}

function decodeHeld(found: Found, field: string, { attemptId, fence, phase, logOffset }: HeldMessage): HeldAttempt[] {
  const key = parseAttemptId(attemptId);
  const name = PHASES[phase];
  const offset = decodeCount(found, `${field}.log_offset`, logOffset);
  if (key === undefined) addViolation(found, `${field}.attempt_id`, `is no attempt id: ${quote(attemptId)}`);
  else if (key.attempt !== fence) addViolation(found, `${field}.fence`, `must be ${key.attempt}; got ${fence}`);
  if (name === undefined) addViolation(found, `${field}.phase`, `must be ACCEPTED, RUNNING or FINISHED; got ${phase}`);
  return key === undefined || name === undefined ? [] : [{ key, phase: name, logOffset: offset }];
}

/** The verdict on an attempt may be large: it is not given as often as a driver likes. */
function checkNamedOnce(found: Found, held: readonly HeldMessage[]): void {
  const named = new Set<string>();
  for (const [index, { attemptId }] of held.entries()) {
    if (named.has(attemptId)) addViolation(found, `hello.held[${index}].attempt_id`, 'names an attempt a second time');
    named.add(attemptId);
  }
}

const PHASES: Readonly<Record<number, HeldAttempt['phase']>> = {
  [HeldPhase.ACCEPTED]: 'ACCEPTED',
  [HeldPhase.RUNNING]: 'RUNNING',
  [HeldPhase.FINISHED]: 'FINISHED',
};
