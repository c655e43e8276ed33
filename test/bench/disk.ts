// Owns how fast the disk makes bytes durable: the floor under every commit.
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { percentile } from './statistics.ts';

export interface SyncLatency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const samples = 200;

/** Appends blocks of 8 KiB, as PostgreSQL's log does, and measures how long each takes to be durable. */
export async function syncLatency(directory: string): Promise<SyncLatency> {
  const path = join(directory, 'sync-latency');
  const file = await open(path, 'w');
  try {
    const block = Buffer.alloc(8192, 1);
    const times: number[] = [];
    for (let n = 0; n < samples; n++) {
      const began = performance.now();
      await file.write(block);
      await file.datasync();
      times.push(performance.now() - began);
    }
    return { p50Ms: percentile(times, 50), p99Ms: percentile(times, 99) };
  } finally {
    await file.close();
    await rm(path);
  }
}
