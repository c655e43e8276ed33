// What the stage keeps an eye on while the load flows: how many runs are open, and the memory of every server process.
import { residentBytes } from '../bench/process-usage.ts';
import type { System } from '../e2e/system.ts';
import type { MemoryUse } from './checker/evidence.ts';

const MEMORY_MS = 250;
const BACKLOG_MS = 100;

/** Knows about how many runs are open. */
export function watchBacklog(system: System): Disposable & { runs(): number } {
  let runs = 0;
  const timer = setInterval(() => {
    const open = system.query<{ open: number }>('select count(*) as open from runs where finished_ms is null');
    void open.then(
      ([row]) => (runs = row?.open ?? 0),
      // The database may be what is broken.
      () => undefined,
    );
  }, BACKLOG_MS);
  return { runs: () => runs, [Symbol.dispose]: () => clearInterval(timer) };
}

/** Notes the memory of every server process from its first moment to its last. */
export function watchMemory({ replicas }: System, memory: MemoryUse[]): Disposable {
  const uses = new Map<number, { server: string; firstBytes: number; mostBytes: number }>();
  const look = (): void => {
    for (const replica of replicas) {
      if (!replica.isRunning()) continue;
      const { pid } = replica;
      void residentBytes(pid).then(
        (bytes) => {
          const use = uses.get(pid) ?? { server: `server process ${pid}`, firstBytes: bytes, mostBytes: 0 };
          if (!uses.has(pid)) memory.push(use);
          uses.set(pid, use);
          use.mostBytes = Math.max(use.mostBytes, bytes);
        },
        // It ended meanwhile.
        () => undefined,
      );
    }
  };
  const timer = setInterval(look, MEMORY_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
