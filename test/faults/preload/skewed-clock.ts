// Imported before a program: its wall clock is wrong by as much as the environment says. Its monotonic clock is right.
import { skewVariable } from './variables.ts';

const skewMs = Number(process.env[skewVariable] ?? 0);
const RealDate = Date;

/** `new Date()` and `Date.now()` are skewed; dates of a given time are not. */
class SkewedDate extends RealDate {
  constructor(...given: unknown[]) {
    super(...((given.length === 0 ? [RealDate.now() + skewMs] : given) as [number]));
  }

  static override now(): number {
    return RealDate.now() + skewMs;
  }
}

globalThis.Date = SkewedDate as DateConstructor;
