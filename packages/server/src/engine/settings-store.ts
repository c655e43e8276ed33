// Stores what a driver changes of its instance: a latest value, so while one change is being stored only the newest after it waits,
// however many come.

export interface SettingsChange {
  readonly slots?: number;
  readonly draining?: true;
}

export interface SettingsStore {
  /** Resolves once this change, or a newer one, is stored. */
  change(change: SettingsChange): Promise<void>;
}

export function createSettingsStore(store: (change: SettingsChange) => Promise<void>): SettingsStore {
  let wanted: SettingsChange | undefined;
  let storing: Promise<void> | undefined;

  async function storeAll(): Promise<void> {
    try {
      while (wanted !== undefined) {
        const change = wanted;
        wanted = undefined;
        await store(change);
      }
    } finally {
      storing = undefined;
    }
  }

  return {
    change(change) {
      wanted = { ...wanted, ...change };
      storing ??= storeAll();
      return storing;
    },
  };
}
