// Owns how results are told: a table to people, with every violation below it, and JSON to programs.
import { writeFile } from 'node:fs/promises';
import { describeMachine } from '../bench/machine.ts';
import { type FaultResult, hasPassed } from './run-fault.ts';
import type { MutationResult } from './run-mutation.ts';

const SHOWN = 10;

export function renderFaults(results: readonly FaultResult[]): string {
  const rows = results.map((result) => [
    result.fault,
    String(result.fired),
    String(result.operations),
    String(result.violations.length + result.complaints.length),
    result.recoveryMs === undefined ? '' : `${Math.round(result.recoveryMs)} ms`,
    verdictOf(result),
  ]);
  return renderTable(['fault', 'fired', 'operations', 'violations', 'recovery', ''], rows);
}

export function renderMutations(results: readonly MutationResult[]): string {
  const rows = results.map(({ invariant, says, fault, noticed, example }) => [
    String(invariant),
    says,
    fault,
    String(noticed),
    noticed > 0 ? 'ok' : `FAILED: ${example}`,
  ]);
  return renderTable(['invariant', 'defect', 'fault', 'violations', ''], rows);
}

export function verdictOf(result: FaultResult): string {
  if (result.notRun !== undefined) return `NOT RUN: ${result.notRun}`;
  if (result.fired === 0) return 'FAILED: it did not happen';
  return hasPassed(result) ? 'ok' : 'FAILED';
}

/** What was broken, with enough to look into it. */
export function complaintsOf({ fault, violations, complaints }: FaultResult): string[] {
  const lines = [
    ...violations.map(({ invariant, complaint }) => `${fault}: invariant ${invariant}: ${complaint}`),
    ...complaints.map((complaint) => `${fault}: ${complaint}`),
  ];
  return lines.length <= SHOWN ? lines : [...lines.slice(0, SHOWN), `${fault}: and ${lines.length - SHOWN} more`];
}

export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = [head, ...rows];
  const width = (column: number): number => Math.max(...table.map((row) => row[column]?.length ?? 0));
  return table
    .map((row) =>
      row
        .map((cell, column) => (/^\d/.test(cell) ? cell.padStart(width(column)) : cell.padEnd(width(column))))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export async function writeReport(path: string, report: object): Promise<void> {
  const time = new Date().toISOString();
  await writeFile(path, `${JSON.stringify({ time, machine: describeMachine(), ...report }, undefined, 2)}\n`);
}
