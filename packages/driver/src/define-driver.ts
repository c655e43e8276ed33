// Owns what a driver is before it runs: its name, its capacity and its work.
import type { JsonObject } from '@bufbuild/protobuf';
import { DriverInstance, type RunningDriver, type StartOptions } from './instance.ts';
import type { JobContext } from './job-context.ts';

/** A driver as its author writes it. */
export interface DriverSettings<Spec = JsonObject> {
  /** What jobs ask for: 1 to 63 characters of `a-z 0-9 -`, beginning with a letter. */
  readonly name: string;
  /** How many jobs one instance runs at a time, 0 to 10,000. Default: 1. */
  readonly slots?: number;
  /** What an instance is, for people and for matching. At most 64. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * Pools of slots beside `slots`, such as `{ gpu: 2 }`: how many jobs that name the pool run at a time. Each takes one of `slots`, too.
   * At most 32. Default: none.
   */
  readonly pools?: Readonly<Record<string, number>>;
  /** JSON Schema (2020-12) of the specs that it accepts, at most 64 KiB. Default: any object. */
  readonly specSchema?: JsonObject;
  /** The driver's own version, for people. At most 128 characters. Default: none. */
  readonly version?: string;
  /**
   * Does the work of one attempt. When it resolves the attempt succeeded; when it throws a `JobFailure` it failed as that
   * says; when it throws anything after a cancel it is cancelled; when it throws anything else it failed with class DRIVER.
   */
  run(context: JobContext<Spec>): Promise<void>;
  /**
   * Goes on with the work of an earlier process of the same instance, from the latest `handle` that it noted by
   * `checkpoint`, empty when it noted none. Ends as `run` does. When it was cancelled while no process was there, the signal is
   * aborted from the start: stop what lives elsewhere; the attempt is then cancelled, however this ends. Default: such work is given
   * up and tried again elsewhere.
   */
  adopt?(context: JobContext<Spec>, handle: Buffer): Promise<void>;
}

/** A driver that can be started, more than once in one process under different instance ids. */
export interface DriverDefinition<Spec = JsonObject> extends DriverSettings<Spec> {
  /**
   * Connects, and keeps connected until it is drained or stopped. Throws a RangeError for an empty list of addresses, for
   * what is no address, and for an empty token.
   */
  start(options: StartOptions): RunningDriver;
}

const driverName = /^[a-z][a-z0-9-]{0,62}$/;
const maxSlots = 10_000;

/** Defines a driver. Throws a RangeError for a name or a number of slots out of bounds. */
export function defineDriver<Spec = JsonObject>(settings: DriverSettings<Spec>): DriverDefinition<Spec> {
  const { name, slots = 1 } = settings;
  if (!driverName.test(name)) {
    throw new RangeError(`driver name ${JSON.stringify(name)} is not 1 to 63 characters of a-z 0-9 -, first a letter`);
  }
  if (!Number.isInteger(slots) || slots < 0 || slots > maxSlots) {
    throw new RangeError(`slots is ${slots}, not a whole number from 0 to ${maxSlots}`);
  }
  return { ...settings, start: (options) => new DriverInstance(settings, options) };
}
