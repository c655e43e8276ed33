// Hints between replicas: which runs and logs grew, which drivers' queues did, which instances to look at. At most 20 notices a
// second; what does not fit becomes "look at everything". A hint that is lost costs time and nothing else.
import type { Pools } from '../store/connect.ts';
import { listen, MAX_NOTICE_BYTES, sendNotice } from '../store/notices.ts';
import { withConnection } from '../store/pool.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';
import type { Topic, WakeUps } from './wake-ups.ts';

const SEND_MS = 50;
const EVERYTHING = '*';

/** What changed. */
export type Hint = Topic | `queue:${string}` | `instance:${number}`;

export interface Hints extends AsyncDisposable {
  /** Tells the other replicas, soon. */
  tell(hint: Hint): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface HintsOptions {
  readonly pools: Pools;
  /** The channel: a name that needs no quotes, one for each schema. */
  readonly channel: string;
  readonly replica: string;
  readonly wakeUps: WakeUps;
  /** Whether anybody listens. */
  readonly hasPeers: () => boolean;
  /** The queue of a driver grew; undefined: any may have. */
  readonly onQueue: (driver: string | undefined) => void;
  /** The ledger changed under these instances; undefined: any. */
  readonly onInstances: (instances: ReadonlySet<number> | undefined) => void;
  readonly log: Log;
}

export function openHints(options: HintsOptions): Hints {
  const { pools, channel, replica, wakeUps } = options;
  const waiting = new Set<Hint>();
  let bytes = 0;

  function hear(payload: string): void {
    const [sender, ...hints] = payload.split(' ');
    if (sender === replica) return;
    if (hints.includes(EVERYTHING)) return hearAnything();
    const instances = new Set<number>();
    for (const hint of hints) {
      const colon = hint.indexOf(':');
      const rest = hint.slice(colon + 1);
      if (hint.startsWith('queue:')) options.onQueue(rest);
      else if (hint.startsWith('instance:')) instances.add(Number(rest));
      else wakeUps.ring(hint as Topic);
    }
    if (instances.size > 0) options.onInstances(instances);
  }

  function hearAnything(): void {
    wakeUps.ringAll();
    options.onQueue(undefined);
    options.onInstances(undefined);
  }

  async function send(): Promise<void> {
    if (waiting.size === 0) return;
    const hints = bytes > MAX_NOTICE_BYTES - 100 ? [EVERYTHING] : [...waiting];
    waiting.clear();
    bytes = 0;
    await withConnection(pools.pool, (tx) => sendNotice(tx, channel, [replica, ...hints].join(' ')));
  }

  const lane = listen(pools, channel, hear, hearAnything);
  return {
    tell(hint) {
      // Past the bound it all becomes one hint, so nothing more is remembered.
      if (!options.hasPeers() || bytes > MAX_NOTICE_BYTES || waiting.has(hint)) return;
      waiting.add(hint);
      bytes += hint.length + 1;
    },
    run: (signal) => repeat(signal, SEND_MS, send, options.log),
    [Symbol.asyncDispose]: () => lane[Symbol.asyncDispose](),
  };
}
