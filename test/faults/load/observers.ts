// Watchers that write down what they see: one feed at each replica, and for some runs their events and the log of a first attempt.
import { createHash } from 'node:crypto';
import { type Client, ConveyorError } from '@conveyor/client';
import { eventually } from '../eventually.ts';
import type { History, Observation } from './history.ts';
import { sightOf } from './history.ts';

/** Silence after which a stream counts as broken, so that one at a replica that froze is opened again soon. */
const STREAM = { silenceMs: 3_000, maxDelayMs: 500 };

export interface Observers extends AsyncDisposable {
  /** Watches a run's events through the first client, and the log of its first job through the second. */
  watch(runId: string, events: Client, logs: Client): void;
  /** Waits until the feeds have seen these runs up to their last event, and every other watcher has come to its end. */
  finish(runs: ReadonlyMap<string, number>, withinMs: number): Promise<void>;
}

export function startObservers(history: History, feeds: readonly Client[]): Observers {
  const stopping = new AbortController();
  const { signal } = stopping;
  const watching = new Set<string>();
  const seen = feeds.map(() => new Map<string, number>());
  const all: Promise<void>[] = [];

  function see(observation: Observation): void {
    history.observations.push(observation);
  }

  function run(watcher: string, work: () => Promise<void>): void {
    watching.add(watcher);
    const ended = work()
      .catch((error: unknown) => {
        if (signal.aborted) return;
        see({ kind: 'broken', watcher, why: error instanceof ConveyorError ? error.message : String(error) });
      })
      .finally(() => watching.delete(watcher));
    all.push(ended);
  }

  feeds.forEach((client, index) => {
    const watcher = `feed-${index}`;
    run(watcher, async () => {
      for await (const update of client.runs.watchAll({}, { ...STREAM, signal })) {
        const runs = update.kind === 'snapshot' ? update.runs : update.changes.flatMap((change) => change.run ?? []);
        for (const sight of runs.map(sightOf)) {
          see({ kind: 'run', watcher, sight });
          seen[index]?.set(sight.runId, sight.seq);
        }
      }
    });
  });

  return {
    watch(runId, events, logs) {
      run(`events of ${runId}`, async () => {
        for await (const { seq, kind } of events.runs.watch(runId, { ...STREAM, signal })) {
          const watcher = `events of ${runId}`;
          see({ kind: 'event', watcher, runId, seq: Number(seq), type: kind.case ?? '' });
        }
      });
      run(`log of ${runId}`, async () => {
        const jobId = `${runId}.0`;
        const hash = createHash('sha256');
        try {
          for await (const { chunks } of logs.jobs.tailLog(jobId, { attempt: 1 }, { ...STREAM, signal })) {
            for (const { data } of chunks) hash.update(data);
          }
        } catch (error) {
          // It never had an attempt.
          if (error instanceof ConveyorError && error.reason === 'ATTEMPT_NOT_FOUND') return;
          throw error;
        }
        see({ kind: 'log', watcher: `log of ${runId}`, jobId, attempt: 1, sha256: hash.digest('hex') });
      });
    },
    async finish(runs, withinMs) {
      const caughtUp = (): boolean =>
        watching.size === feeds.length &&
        seen.every((feed) => [...runs].every(([runId, seq]) => (feed.get(runId) ?? 0) >= seq));
      if (await eventually(caughtUp, withinMs)) return;
      for (const watcher of watching) {
        if (!watcher.startsWith('feed')) see({ kind: 'broken', watcher, why: `it did not end within ${withinMs} ms` });
      }
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await Promise.all(all);
    },
  };
}
