// Owns how measurements are told: as a table to people, and as JSON with every single measurement to programs.
import { writeFile } from 'node:fs/promises';
import type { Machine } from './machine.ts';
import { median } from './statistics.ts';

/** One figure of a measurement. */
export interface Figure<Measurement> {
  readonly name: string;
  readonly unit: string;
  readonly of: (measurement: Measurement) => number;
}

/** The median of each figure over all measurements, with the lowest and the highest. */
export function renderTable<Measurement>(
  figures: readonly Figure<Measurement>[],
  measurements: readonly Measurement[],
): string {
  const rows = figures.map(({ name, unit, of }) => {
    const values = measurements.map(of);
    return [name, format(median(values)), unit, `${format(Math.min(...values))} to ${format(Math.max(...values))}`];
  });
  const table = [['', 'median', '', 'lowest to highest'], ...rows];
  const width = (column: number): number => Math.max(...table.map((row) => row[column]?.length ?? 0));
  return table
    .map(([name = '', value = '', unit = '', range = '']) =>
      `${name.padEnd(width(0))}  ${value.padStart(width(1))} ${unit.padEnd(width(2))}  ${range}`.trimEnd(),
    )
    .join('\n');
}

export async function writeReport<Measurement>(
  path: string,
  report: { readonly benchmark: string; readonly parameters: object; readonly machine: Machine },
  figures: readonly Figure<Measurement>[],
  measurements: readonly Measurement[],
): Promise<void> {
  const medians = Object.fromEntries(
    figures.map(({ name, unit, of }) => [`${name}, ${unit}`, median(measurements.map(of))]),
  );
  const time = new Date().toISOString();
  await writeFile(path, `${JSON.stringify({ ...report, time, medians, measurements }, undefined, 2)}\n`);
}

function format(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toPrecision(3);
}
