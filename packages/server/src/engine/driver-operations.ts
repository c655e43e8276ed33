// The engine as api sees it, as far as it is about drivers: what is known and asked of them, and their sessions.
import type { DemandChange } from '../core/demand.ts';
import type { DriverFrame, Hello, ServerFrame } from '../core/frames.ts';
import type { Refusal } from '../core/refusal.ts';
import type { DriverView, Page, QueuePause, QueueView } from '../core/views.ts';
import type { PageRequest, Principal } from './engine.ts';

export interface DriverOperations {
  list(filter: { readonly name?: string; readonly includeGone: boolean }, page: PageRequest): Promise<Page<DriverView>>;
  get(name: string, instance: string): Promise<DriverView>;
  drain(
    request: DrainRequest,
    signal: AbortSignal,
  ): Promise<{ drivers: readonly DriverView[]; idle: boolean; evicted: number }>;
  pauseQueue(pause: Omit<QueuePause, 'sinceMs'>): Promise<QueuePause>;
  /** Returns whether exactly this was paused. */
  resumeQueue(name: Pick<QueuePause, 'driver' | 'project' | 'pipeline'>): Promise<boolean>;
  /** By driver name. */
  listQueues(page: PageRequest): Promise<Page<QueueView>>;
  /**
   * Yields all demand for these drivers, or for any if none is given, then what changes of it, at least every 20 s. Never ends by itself.
   */
  watchDemand(drivers: readonly string[], signal: AbortSignal): AsyncIterable<DemandChanges>;
  /**
   * Opens a session. Frames for the driver are handed to `link.send` (first the Welcome); api coalesces them into messages.
   * Rejects with RefusedError when the hello is refused.
   */
  openSession(principal: Principal, hello: Hello, link: SessionLink): Promise<DriverSession>;
}

export interface DemandChanges {
  readonly changes: readonly DemandChange[];
  /** True once: on the last part of what there is at first. */
  readonly snapshotComplete: boolean;
}

/** Which instances to drain: in both patterns `*` stands for any characters. */
export interface DrainRequest {
  readonly name: string;
  readonly instance: string;
  readonly undo: boolean;
  /** How long to wait for them to hold nothing. Default: not at all. */
  readonly waitMs?: number;
  /** Whether what they still hold then is taken away. */
  readonly evict: boolean;
}

/** The way from the engine to one driver's stream. */
export interface SessionLink {
  /** Queues a frame; never blocks, never throws. */
  send(frame: ServerFrame): void;
  /** Bytes queued and not yet taken by the transport; the engine holds offers back above 1 MiB. */
  queuedBytes(): number;
  /** Ends the stream with a status: undefined for OK after Goodbye. */
  end(refusal: Refusal | undefined): void;
}

export interface DriverSession {
  readonly sessionId: string;
  /** Takes the frames of one message, in order. Never blocks: log bytes are bounded by windows. */
  receive(frames: readonly DriverFrame[]): void;
  /** The stream broke or closed: says nothing about the attempts on it. */
  disconnected(): void;
}
