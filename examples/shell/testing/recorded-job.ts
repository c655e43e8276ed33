// A job as a test gives it to a driver: what it is given is stated, what it says is recorded, and the test stops it.
import {
  type JobContext,
  JobStopped,
  type JsonObject,
  type JsonValue,
  type LogOptions,
  type NeededJob,
  type RunValues,
} from '@conveyor/driver';

/** What a test states of a job; the rest is made up. */
export interface RecordedJobInit<Spec> {
  readonly spec: Spec;
  readonly params?: JsonObject;
  readonly needs?: Readonly<Record<string, NeededJob>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly runId?: string;
  readonly jobId?: string;
  readonly attemptId?: string;
  /** Where the log begins. Default: 0. */
  readonly logOffset?: number;
}

export class RecordedJob<Spec> implements JobContext<Spec> {
  readonly spec: Spec;
  readonly job;
  readonly params: JsonObject;
  readonly needs: Readonly<Record<string, NeededJob>>;
  readonly secrets: Readonly<Record<string, string>>;
  readonly log;
  readonly outputs: Record<string, JsonValue> = {};
  readonly checkpoints: string[] = [];
  readonly #written: { readonly channel: string; readonly text: string }[] = [];
  readonly #soft = new AbortController();
  readonly #kill = new AbortController();
  readonly signal: AbortSignal = this.#soft.signal;
  readonly killed: AbortSignal = this.#kill.signal;

  constructor(init: RecordedJobInit<Spec>) {
    const { spec, params = {}, needs = {}, secrets = {}, logOffset: offset = 0 } = init;
    const { runId = 'run-1', jobId = 'job-1', attemptId = 'attempt-1' } = init;
    this.spec = spec;
    this.params = params;
    this.needs = needs;
    this.secrets = secrets;
    this.job = {
      project: 'default',
      runId,
      jobId,
      name: 'build',
      pipeline: 'ci',
      attemptId,
      attempt: 1,
      traceparent: '',
    };
    const write = async (data: string | Uint8Array, { channel = 'stdout' }: LogOptions = {}): Promise<void> => {
      this.#written.push({ channel, text: Buffer.from(data).toString() });
    };
    const pipe = async (source: AsyncIterable<string | Uint8Array>, options?: LogOptions): Promise<void> => {
      for await (const data of source) await write(data, options);
    };
    const end = (): void => {};
    this.log = Object.assign(write, { offset, pipe, section: () => ({ end, [Symbol.dispose]: end }) });
  }

  get stdout(): string {
    return this.#text('stdout');
  }

  get stderr(): string {
    return this.#text('stderr');
  }

  readonly output = (key: string, value: JsonValue): void => {
    this.outputs[key] = value;
  };
  /** Those of no run: there are none, and none can be set. */
  readonly values: RunValues = {
    get: async () => undefined,
    set: () => Promise.reject(new Error('a recorded job has no run')),
    delete: async () => {},
  };
  readonly append = (): Promise<void> => Promise.reject(new Error('a recorded job has no run'));
  readonly progress = (): void => {};
  readonly annotate = (): void => {};
  readonly artifact = (): void => {};
  readonly checkpoint = (handle: string | Uint8Array): void => {
    this.checkpoints.push(Buffer.from(handle).toString());
  };

  /** Asks it to stop, as a cancel does. */
  cancel(): void {
    this.#soft.abort(new JobStopped('cancelled', 'by ann'));
  }

  /** Insists, as a cancel does after its grace period. */
  kill(): void {
    this.cancel();
    this.#kill.abort(this.signal.reason);
  }

  /** Takes it from its driver. */
  revoke(): void {
    const reason = new JobStopped('revoked', 'the lease was lost');
    this.#soft.abort(reason);
    this.#kill.abort(reason);
  }

  #text(channel: string): string {
    return this.#written.map((part) => (part.channel === channel ? part.text : '')).join('');
  }
}
