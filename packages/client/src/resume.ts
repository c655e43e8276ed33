// Owns how a stream outlives its connection: it is opened again from the reader's cursor until the source says that it is
// complete. A break, an unrequested cancel, a silent connection and an early OK are all the same: open again.
import { type Backoff, backoffDelayMs, waitFor } from './backoff.ts';
import { ConveyorError, toConveyorError } from './error.ts';

/** How a stream is kept up and ended. By default it tries again after 100 ms, then twice as long each time, up to 5 s. */
export interface WatchOptions extends Partial<Backoff> {
  /** Ends the stream by throwing the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** After how long without a message a connection counts as broken; servers send a sign of life every 20 s. Default: 60 s. */
  readonly silenceMs?: number;
  /** Told of each break before the wait for the next try. */
  readonly onReconnect?: (error: ConveyorError, delayMs: number) => void;
}

/** A stream that can be opened at a cursor, which it keeps itself. */
export interface ResumableSource<Message, Item> {
  /** Opens the stream at the cursor. */
  open(signal: AbortSignal): AsyncIterable<Message>;
  /** What a message means to the reader; moves the cursor past it. Throws when the message does not continue the stream. */
  read(message: Message): readonly Item[];
  /** True once nothing can follow. */
  isComplete(): boolean;
  /** Asked when the stream ended with OK before it was complete: true when nothing can follow after all. */
  confirmEnd?(signal: AbortSignal): Promise<boolean>;
}

/**
 * Yields what a source says until it is complete. Before the first message only `unavailable`, `cancelled` and `aborted` are
 * tried again. Throws the signal's reason on abort, else a ConveyorError.
 */
export async function* resume<Message, Item>(
  source: ResumableSource<Message, Item>,
  options: WatchOptions,
): AsyncGenerator<Item, void, void> {
  const { signal } = options;
  const backoff = { initialDelayMs: options.initialDelayMs ?? 100, maxDelayMs: options.maxDelayMs ?? 5_000 };
  const silenceMs = options.silenceMs ?? 60_000;
  let failures = 0;
  let everHeard = false;
  for (;;) {
    signal?.throwIfAborted();
    const connection = new AbortController();
    const either = signal === undefined ? connection.signal : AbortSignal.any([signal, connection.signal]);
    const openedAt = performance.now();
    let progressed = false;
    let failure: ConveyorError;
    try {
      const messages = source.open(either)[Symbol.asyncIterator]();
      for (;;) {
        const next = await unlessSilent(messages.next(), silenceMs, connection);
        if (next.done) break;
        everHeard = true;
        for (const item of source.read(next.value)) {
          progressed = true;
          yield item;
        }
        if (source.isComplete()) return;
      }
      if (await source.confirmEnd?.(either)) return;
      failure = new ConveyorError('unavailable', 'the stream ended before its last message');
    } catch (thrown) {
      signal?.throwIfAborted();
      failure = toConveyorError(thrown);
      const mayPass = everHeard || (failure.code !== 'internal' && failure.code !== 'unknown');
      if (!mayPass || !failure.retryable) throw failure;
    } finally {
      // The stream of a client has no return(): only its signal ends the call.
      connection.abort();
    }
    if (progressed || performance.now() - openedAt > backoff.maxDelayMs) failures = 0;
    failures += 1;
    const delayMs = backoffDelayMs(failures, backoff);
    options.onReconnect?.(failure, delayMs);
    await waitFor(delayMs, signal);
  }
}

async function unlessSilent<T>(next: Promise<T>, silenceMs: number, connection: AbortController): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      connection.abort();
      reject(new ConveyorError('unavailable', `nothing was heard for ${silenceMs} ms`));
    }, silenceMs);
  });
  try {
    return await Promise.race([next, silence]);
  } finally {
    clearTimeout(timer);
  }
}
