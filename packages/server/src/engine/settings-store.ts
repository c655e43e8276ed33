// Stores what a driver changes of its instance: a latest value, so while one change is being stored only the newest after it waits,
// however many come.

export interface SettingsChange {
  readonly slots?: number;
  readonly draining?: true;
}

export interface SettingsStore {
  /** Resolves once this change, and whatever came meanwhile, is stored. Undefined: who waits already for another one waits for it too. */
  change(change: SettingsChange): Promise<void> | undefined;
}

export function createSettingsStore(store: (change: SettingsChange) => Promise<void>): SettingsStore {
  let wanted: SettingsChange | undefined;
  let isStoring = false;

  async function storeAll(): Promise<void> {
    isStoring = true;
    try {
      while (wanted !== undefined) {
        const change = wanted;
        wanted = undefined;
        await store(change);
      }
    } finally {
      isStoring = false;
    }
  }

  return {
    change(change) {
      wanted = { ...wanted, ...change };
      return isStoring ? undefined : storeAll();
    },
  };
}
