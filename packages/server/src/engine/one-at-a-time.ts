// What one session asks of the database beside its ledger: in order, one at a time, so that no session takes more than one connection
// for it.

export interface OneAtATime {
  /** Does a task behind those before it. Whoever fails tells its own caller; the next one has its turn all the same. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when all that came before is done; undefined: it is already. */
  settled(): Promise<unknown> | undefined;
}

export function createOneAtATime(): OneAtATime {
  let before: Promise<unknown> | undefined;
  return {
    run(task) {
      const done = before === undefined ? task() : before.then(task);
      const forget = (): void => {
        if (before === over) before = undefined;
      };
      const over: Promise<void> = done.then(forget, forget);
      before = over;
      return done;
    },
    settled: () => before,
  };
}
