// Owns what to write instead of what the library for JSON does not know: it says of which message or enum, but not what that has.
import { createRegistry, type DescMessage } from '@bufbuild/protobuf';
import { nearestName } from '../../core/nearest-name.ts';
import { withDependencies } from '../contract-files.ts';
import { SERVICES } from '../services.ts';

const UNKNOWN_FIELD = /^cannot decode message (\S+) from JSON: key "(.*)" is unknown$/s;
const NO_MESSAGE = /^cannot decode message (\S+) from JSON:? (?!key ")/s;
const UNKNOWN_VALUE = /^cannot decode enum (\S+) from JSON: "(.*)"$/s;

const registry = createRegistry(...withDependencies(SERVICES.map(({ file }) => file)));

/** Completes what the library says of JSON that it cannot read; undefined where there is nothing to add. */
export function jsonHint(message: string): string | undefined {
  const [, messageName = '', key = ''] = UNKNOWN_FIELD.exec(message) ?? [];
  const fields = registry.getMessage(messageName)?.fields.map(({ jsonName }) => jsonName);
  if (fields !== undefined) return hint(nearestName(key, fields), fields);
  const [, wrongName = ''] = NO_MESSAGE.exec(message) ?? [];
  const form = FORMS[wrongName] ?? formOf(registry.getMessage(wrongName));
  if (form !== undefined) return `; write ${form}`;
  const [, enumName = '', value = ''] = UNKNOWN_VALUE.exec(message) ?? [];
  const desc = registry.getEnum(enumName);
  if (desc === undefined) return undefined;
  const names = desc.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  const prefix = desc.sharedPrefix?.toUpperCase() ?? '';
  const meant = value.toUpperCase().startsWith(prefix) ? value.toUpperCase() : prefix + value.toUpperCase();
  return hint(names.includes(meant) ? meant : nearestName(meant, names), names);
}

/** Messages that JSON has in a form of their own. */
const FORMS: Readonly<Record<string, string>> = {
  'google.protobuf.Duration': 'seconds, such as "300s" or "1.5s"',
  'google.protobuf.Timestamp': 'a time, such as "2026-01-31T12:00:00Z"',
  'google.protobuf.Struct': 'an object',
  'google.protobuf.ListValue': 'a list',
};

function formOf(desc: DescMessage | undefined): string | undefined {
  return desc && `an object of these: ${desc.fields.map(({ jsonName }) => jsonName).join(', ')}`;
}

function hint(near: string | undefined, known: readonly string[]): string {
  const meant = near === undefined ? '' : `did you mean ${near}? `;
  return `; ${meant}these are: ${known.join(', ')}`;
}
