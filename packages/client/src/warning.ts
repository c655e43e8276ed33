// Owns what an answer tells of that may be wrong, also from servers that tell only texts.

/** Something that may be wrong, and kept nothing from being done. */
export interface Warning {
  /** The path of the field that it is about, as errors write it, such as `definition.jobs[2].driver`; empty when it is about all of it. */
  readonly field: string;
  /** For people to read. */
  readonly message: string;
}

export function detailsOf(answer: {
  readonly warnings: readonly string[];
  readonly warningDetails: readonly Warning[];
}): readonly Warning[] {
  const { warnings, warningDetails } = answer;
  if (warningDetails.length === 0) return warnings.map((message) => ({ field: '', message }));
  return warningDetails.map(({ field, message }) => ({ field, message }));
}
