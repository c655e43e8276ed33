// Owns how answers tell of what may be wrong: as texts for people, and beside them with the field that each is about.
import type { Warning } from '../core/refusal.ts';

export function encodeWarnings(warnings: readonly Warning[]): { warnings: string[]; warningDetails: Warning[] } {
  return { warnings: warnings.map(({ message }) => message), warningDetails: [...warnings] };
}
