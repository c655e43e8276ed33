// Owns what to write instead of a name that the library for JSON does not know: it says of which message or enum, but not what that has.
import { createRegistry } from '@bufbuild/protobuf';
import { nearestName } from '../../core/nearest-name.ts';
import { withDependencies } from '../contract-files.ts';
import { SERVICES } from '../services.ts';

const UNKNOWN_FIELD = /^cannot decode message (\S+) from JSON: key "(.*)" is unknown$/s;
const UNKNOWN_VALUE = /^cannot decode enum (\S+) from JSON: "(.*)"$/s;

const registry = createRegistry(...withDependencies(SERVICES.map(({ file }) => file)));

/** Completes what the library says of JSON that it cannot read; undefined where there is nothing to add. */
export function jsonHint(message: string): string | undefined {
  const [, messageName = '', key = ''] = UNKNOWN_FIELD.exec(message) ?? [];
  const fields = registry.getMessage(messageName)?.fields.map(({ jsonName }) => jsonName);
  if (fields !== undefined) return hint(nearestName(key, fields), fields);
  const [, enumName = '', value = ''] = UNKNOWN_VALUE.exec(message) ?? [];
  const desc = registry.getEnum(enumName);
  if (desc === undefined) return undefined;
  const names = desc.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  const prefix = desc.sharedPrefix?.toUpperCase() ?? '';
  const meant = value.toUpperCase().startsWith(prefix) ? value.toUpperCase() : prefix + value.toUpperCase();
  return hint(names.includes(meant) ? meant : nearestName(meant, names), names);
}

function hint(near: string | undefined, known: readonly string[]): string {
  const meant = near === undefined ? '' : `did you mean ${near}? `;
  return `; ${meant}these are: ${known.join(', ')}`;
}
