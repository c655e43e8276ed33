// Owns the words of a driver about values of its runs.
import { fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type AttemptKey, type Frame, frame } from './frames.ts';

export function getValueFrame({ id, fence }: AttemptKey, number: number, key: string): Frame {
  return frame({
    case: 'getValue',
    value: { $typeName: 'conveyor.v1.GetValue', attemptId: id, fence, number, key },
  });
}

export function setValueFrame(
  { id, fence }: AttemptKey,
  number: number,
  key: string,
  json: JsonValue,
  expectedVersion: bigint | undefined,
): Frame {
  const value = fromJson(ValueSchema, json);
  const expected = expectedVersion === undefined ? {} : { expectedVersion };
  return frame(
    {
      case: 'setValue',
      value: { $typeName: 'conveyor.v1.SetValue', attemptId: id, fence, number, key, value, ...expected },
    },
    toBinary(ValueSchema, value).length,
  );
}

export function deleteValueFrame(
  { id, fence }: AttemptKey,
  number: number,
  key: string,
  expectedVersion: bigint | undefined,
): Frame {
  const expected = expectedVersion === undefined ? {} : { expectedVersion };
  return frame({
    case: 'deleteValue',
    value: { $typeName: 'conveyor.v1.DeleteValue', attemptId: id, fence, number, key, ...expected },
  });
}
