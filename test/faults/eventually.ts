// Waits for what is to become true, looking again and again.
import { setTimeout as delay } from 'node:timers/promises';

const LOOK_MS = 20;

/** Whether it became true in time. A look that fails is one that did not find it. */
export async function eventually(isTrue: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    if (
      await Promise.resolve()
        .then(isTrue)
        .catch(() => false)
    )
      return true;
    if (performance.now() >= deadlineMs) return false;
    await delay(LOOK_MS);
  }
}

/** @throws Error when it does not become true in time. */
export async function untilTrue(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  if (!(await eventually(isTrue, withinMs))) throw new Error(`${what}: not within ${withinMs} ms`);
}
