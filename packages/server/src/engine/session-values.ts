// What the driver of one session reads and changes of the values of its runs.
import type { DriverFrame } from '../core/frames.ts';
import type { AttemptKey } from '../core/ids.ts';
import type { SessionLink } from './driver-operations.ts';
import type { RunValues, ValueResult } from './run-values.ts';
import type { Writer } from './run-work.ts';

export type ValueFrame = Extract<DriverFrame, { type: 'GetValue' | 'SetValue' | 'DeleteValue' }>;

export interface SessionValues {
  /** Answers one frame. */
  handle(frame: ValueFrame): Promise<void>;
}

export interface SessionValuesOptions {
  readonly writer: Writer;
  readonly link: SessionLink;
  readonly values: Pick<RunValues, 'readFor' | 'changeFor'>;
  /** The attempt is not in the driver's hand. */
  readonly stale: (key: AttemptKey, result: Extract<ValueResult, { type: 'Stale' }>) => Promise<void>;
  /** The driver broke the rules about it. */
  readonly invalid: (key: AttemptKey, problem: string) => Promise<void>;
  /** The session may not write any more. */
  readonly superseded: () => void;
}

export function createSessionValues(options: SessionValuesOptions): SessionValues {
  const { writer, link, values } = options;

  async function carryOut(frame: ValueFrame): Promise<ValueResult> {
    const { key, number, name } = frame;
    switch (frame.type) {
      case 'GetValue':
        return await values.readFor(writer, key, name);
      case 'SetValue':
        return await values.changeFor(writer, key, number, { key: name, value: frame.value, expected: frame.expected });
      case 'DeleteValue':
        return await values.changeFor(writer, key, number, { key: name, value: undefined, expected: frame.expected });
    }
  }

  async function answer(frame: ValueFrame): Promise<void> {
    const { key, number } = frame;
    const result = await carryOut(frame);
    switch (result.type) {
      case 'Done':
      case 'Refused': {
        const { type: _, ...said } = result;
        return link.send({ type: 'ValueAnswer', key, number, ...said });
      }
      case 'Stale':
        return await options.stale(key, result);
      case 'Invalid':
        return await options.invalid(key, result.problem);
      case 'Superseded':
        return options.superseded();
    }
  }

  return { handle: answer };
}
