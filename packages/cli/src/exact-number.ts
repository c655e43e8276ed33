// Whether a number means what was written: numbers are IEEE 754 doubles, and a double that is shown with other digits than those that
// somebody wrote is another number.

/** True when the double of a literal is shown by the literal's own digits. */
export function isExact(value: number | bigint, literal: string): boolean {
  const number = Number(value);
  const written = decimalOf(literal);
  if (written !== undefined) return written === decimalOf(String(number));
  // Octal and hexadecimal.
  return typeof value === 'bigint' && BigInt(number) === value;
}

/** A decimal number as its significant digits and exponent, the same however it is written; undefined when it is none. */
function decimalOf(text: string): string | undefined {
  const match = /^[-+]?(\d*)(?:\.(\d*))?(?:[eE]([-+]?\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', exponent = '0'] = match;
  const significant = `${whole}${fraction}`.replace(/^0+/, '');
  const digits = withoutTrailingZeros(significant);
  if (digits === '') return '0';
  return `${digits}e${Number(exponent) - fraction.length + significant.length - digits.length}`;
}

/** Not by a pattern, which would look at a run of zeros in the middle again from each of them. */
function withoutTrailingZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits[end - 1] === '0') end--;
  return digits.slice(0, end);
}
