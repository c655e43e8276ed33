// Owns how the difference of two definitions is shown to people: what was added, removed and changed, each with its path and values.
import { toJson } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import type { FieldChange, PipelineDiff } from '@conveyor/client';
import type { Colors } from './terminal.ts';
import { printable } from './text.ts';

const MAX_SHOWN = 200;

/** A difference as lines under a title. */
export function pipelineDiffText(title: string, diff: PipelineDiff | undefined, colors: Colors): string {
  if (diff === undefined) throw new Error('the server left the difference out');
  const { addedJobs, removedJobs, changedJobs, changes, changeCount, onlyOrderDiffers } = diff;
  if (onlyOrderDiffers) return `${title}: only the order of jobs, needs or secrets differs`;
  if (changeCount + addedJobs.length + removedJobs.length === 0) return `${title}: no difference`;
  const listed = [...changes, ...changedJobs.flatMap((job) => job.changes)].length;
  return [
    `${title}:`,
    ...removedJobs.map((name) => colors.red(`- job ${name}`)),
    ...addedJobs.map((name) => colors.green(`+ job ${name}`)),
    ...changes.map((change) => changeText(change, colors)),
    ...changedJobs.flatMap((job) => [
      colors.yellow(`~ job ${job.name}`),
      ...job.changes.map((change) => `    ${changeText(change, colors)}`),
    ]),
    ...(changeCount > listed ? [`and ${changeCount - listed} more changes`] : []),
  ].join('\n');
}

function changeText({ path, oldValue, newValue }: FieldChange, colors: Colors): string {
  const name = printable(path);
  if (oldValue === undefined) return colors.green(`+ ${name}: ${valueText(newValue)}`);
  if (newValue === undefined) return colors.red(`- ${name}: ${valueText(oldValue)}`);
  return `${colors.yellow(`~ ${name}`)}: ${colors.red(valueText(oldValue))} -> ${colors.green(valueText(newValue))}`;
}

function valueText(value: Value | undefined): string {
  const text = value === undefined ? '' : printable(JSON.stringify(toJson(ValueSchema, value)));
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
