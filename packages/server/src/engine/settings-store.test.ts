import { expect, test } from 'vitest';
import { createSettingsStore, type SettingsChange } from './settings-store.ts';

/** A store whose writes end when the test says so. */
function slowStore() {
  const stored: SettingsChange[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  const settings = createSettingsStore((change) => {
    stored.push(change);
    const end = Promise.withResolvers<void>();
    ends.push(end);
    return end.promise;
  });
  return { settings, stored, end: (n: number) => ends[n], turn: () => new Promise(setImmediate) };
}

test('while one change is being stored, only what came of all others waits', async () => {
  const { settings, stored, end, turn } = slowStore();
  const first = settings.change({ slots: 1 });
  for (let slots = 2; slots <= 1_000; slots++) expect(settings.change({ slots })).toBeUndefined();
  void settings.change({ draining: true });
  end(0)?.resolve();
  await turn();
  end(1)?.resolve();
  await first;
  expect(stored).toEqual([{ slots: 1 }, { slots: 1_000, draining: true }]);
});

test('a failure is told to who waits, and the next change is stored again', async () => {
  const { settings, stored, end } = slowStore();
  const first = settings.change({ slots: 1 });
  end(0)?.reject(new Error('the database is away'));
  await expect(first).rejects.toThrow('the database is away');
  const second = settings.change({ slots: 2 });
  end(1)?.resolve();
  await second;
  expect(stored).toEqual([{ slots: 1 }, { slots: 2 }]);
});
