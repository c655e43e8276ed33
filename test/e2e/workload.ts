// What jobs of these tests do, as their spec says. Everything that a workload writes is a function of its spec, so a test knows every
// byte beforehand.
import { createHash } from 'node:crypto';
import type { JobInit, JsonValue } from '@conveyor/driver';

export interface Workload {
  readonly steps: readonly Step[];
  /**
   * What it does when it is asked to stop. `end`: writes `stopped: <why>` and ends. `ignore`: goes on until it is killed.
   * `survive`: goes on whatever it is told. Default: `end`.
   */
  readonly onStop?: 'end' | 'ignore' | 'survive';
}

export type Step =
  /** Writes `linesOf(seed, bytes)` in pieces of `pieceBytes` (default 16 KiB), `pauseMs` (default 0) apart. */
  | {
      readonly do: 'write';
      readonly seed: string;
      readonly bytes: number;
      readonly pieceBytes?: number;
      readonly pauseMs?: number;
    }
  | { readonly do: 'say'; readonly text: string }
  /** Waits until a file is there. */
  | { readonly do: 'wait'; readonly file: string }
  /** Puts the SHA-256 of a secret into the output of its name. */
  | { readonly do: 'prove'; readonly secret: string }
  | { readonly do: 'output'; readonly key: string; readonly value: JsonValue }
  /** Puts the outputs of the jobs that it needed into the output `needs`. */
  | { readonly do: 'pass-on' }
  | { readonly do: 'annotate'; readonly text: string }
  | { readonly do: 'make'; readonly name: string; readonly digest: string; readonly size: number }
  /** Adds 1 to a value of the run, so many times. */
  | { readonly do: 'add'; readonly key: string; readonly times: number }
  /** Appends jobs to its run. */
  | { readonly do: 'append'; readonly jobs: readonly JobInit[] }
  /** Notes that it came so far: who adopts it goes on behind this step. */
  | { readonly do: 'checkpoint' }
  | {
      readonly do: 'fail';
      readonly class: 'WORKLOAD' | 'DRIVER' | 'INVALID';
      readonly message: string;
      readonly exitCode?: number;
      readonly retryAfterMs?: number;
      /** Fails only in attempts up to this one. Default: in all. */
      readonly upToAttempt?: number;
    };

/** The output that holds the SHA-256 of all that the workload wrote, in hexadecimal digits. */
export const digestOutput = 'sha256';

/** Pseudo-random lines of different lengths, exactly `bytes` bytes in all, the last byte a line end. */
export function linesOf(seed: string, bytes: number): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (let number = 0; length < bytes; number++) {
    const random = createHash('sha512').update(`${seed} ${number}`).digest();
    const line = Buffer.from(`${number} ${random.toString('base64').slice(0, 8 + ((random[0] ?? 0) % 80))}\n`);
    parts.push(line);
    length += line.length;
  }
  const whole = Buffer.concat(parts).subarray(0, bytes);
  whole[bytes - 1] = 0x0a;
  return whole;
}

/** What the steps write when nothing stops them. */
export function writtenBy(steps: readonly Step[]): Buffer {
  return Buffer.concat(
    steps.map((step) => {
      if (step.do === 'write') return linesOf(step.seed, step.bytes);
      return step.do === 'say' ? Buffer.from(step.text) : Buffer.alloc(0);
    }),
  );
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
