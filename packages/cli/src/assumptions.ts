// Owns `JOB=OUTCOME[:JSON]` arguments: how jobs of a plan are assumed to end, and which outputs they are assumed to have.
import type { JsonObject } from '@bufbuild/protobuf';
import type { AssumedInput } from '@conveyor/client';
import { UsageError } from './failure.ts';
import { isJsonObject, readJson } from './json.ts';

const OUTCOMES = ['succeeded', 'failed', 'cancelled', 'skipped'] as const;
const SHAPE = `JOB=${OUTCOMES.join('|')}, perhaps with outputs, as 'build=succeeded:{"image":"a:1"}'`;

export function parseAssumptions(args: readonly string[]): Record<string, AssumedInput> {
  return Object.fromEntries(args.map(parseAssumption));
}

function parseAssumption(arg: string): [string, AssumedInput] {
  const at = arg.indexOf('=');
  const colon = arg.indexOf(':', at);
  const word = arg.slice(at + 1, colon === -1 ? undefined : colon);
  const outcome = OUTCOMES.find((known) => known === word);
  if (at < 1 || outcome === undefined) throw new UsageError(`'${arg}' is no assumption`, `write ${SHAPE}`);
  return [arg.slice(0, at), colon === -1 ? { outcome } : { outcome, outputs: parseOutputs(arg.slice(colon + 1)) }];
}

function parseOutputs(text: string): JsonObject {
  const value = readJson(text);
  if (!isJsonObject(value)) {
    throw new UsageError(`'${text}' is no JSON object of outputs`, `write ${SHAPE}`);
  }
  return value;
}
