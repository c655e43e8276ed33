// What has to be stopped, in the opposite order of its start. Everything is stopped, also when stopping one of them fails.

export interface Teardown extends AsyncDisposable {
  use<T extends AsyncDisposable>(resource: T): T;
  defer(stop: () => Promise<void>): void;
}

export function createTeardown(): Teardown {
  const stops: (() => Promise<void>)[] = [];
  return {
    use(resource) {
      stops.push(async () => resource[Symbol.asyncDispose]());
      return resource;
    },
    defer(stop) {
      stops.push(stop);
    },
    async [Symbol.asyncDispose]() {
      const errors: unknown[] = [];
      for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
        await stop().catch((error: unknown) => errors.push(error));
      }
      if (errors.length > 0) throw new AggregateError(errors, 'not everything could be stopped');
    },
  };
}

/** Builds something of many parts; when that fails, the parts that were made are stopped. */
export async function buildOrUndo<T>(build: (teardown: Teardown) => Promise<T>): Promise<T> {
  const teardown = createTeardown();
  try {
    return await build(teardown);
  } catch (error) {
    await teardown[Symbol.asyncDispose]();
    throw error;
  }
}
