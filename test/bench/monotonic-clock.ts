// Owns the one clock that all processes of a machine share and that nobody sets.

/** Milliseconds, with fractions; comparable between processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
