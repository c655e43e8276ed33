// Owns what was checked and what came of it: each check has a time limit and counts once; what cannot be run counts nowhere
// but is never passed over in silence.
import { setTimeout as delay } from 'node:timers/promises';

export interface Checklist {
  /** Runs a check, prints its name and outcome, and says whether it passed. Its signal aborts when the time is up. */
  check(name: string, limitMs: number, body: (signal: AbortSignal) => Promise<void>): Promise<boolean>;
  cannotRun(what: string, why: string): void;
  /** Prints the totals and says whether nothing failed. */
  conclude(): boolean;
}

/** How long a check may take to end once its time is up. */
const endWithinMs = 5_000;

export function createChecklist(print: (line: string) => void): Checklist {
  let passed = 0;
  let failed = 0;
  const notRun: string[] = [];
  return {
    async check(name, limitMs, body) {
      const began = performance.now();
      try {
        await withLimit(limitMs, body);
        passed++;
        print(`ok     ${name} (${Math.round(performance.now() - began)} ms)`);
        return true;
      } catch (error) {
        failed++;
        print(`FAILED ${name} (${Math.round(performance.now() - began)} ms)`);
        print(indent(error instanceof Error ? (error.stack ?? error.message) : String(error)));
        return false;
      }
    },
    cannotRun(what, why) {
      notRun.push(`${what}: ${why}`);
    },
    conclude() {
      print(`interop: ${passed} passed, ${failed} failed`);
      for (const line of notRun) print(`could not run: ${line}`);
      return failed === 0;
    },
  };
}

async function withLimit(limitMs: number, body: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const signal = AbortSignal.timeout(limitMs);
  const late = async (): Promise<never> => {
    await delay(limitMs + endWithinMs, undefined, { ref: false });
    throw signal.reason;
  };
  await Promise.race([body(signal), late()]);
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '       ');
}
