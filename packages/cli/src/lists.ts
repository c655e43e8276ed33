// Owns how lists are shown: as a table, or as an array of the messages of the API, and only so many of them.
import type { DescMessage, JsonValue, MessageShape } from '@bufbuild/protobuf';
import { type Cli, type OutputOptions, jsonOf, prettyJson } from './cli.ts';

/** Prints a list. */
export async function show<Desc extends DescMessage>(
  { terminal }: Cli,
  output: OutputOptions['output'],
  desc: Desc,
  messages: readonly MessageShape<Desc>[],
  asTable: () => string,
): Promise<void> {
  const json = (): JsonValue => messages.map((message) => jsonOf(desc, message));
  await terminal.print(output === 'json' ? prettyJson(json()) : asTable());
}

/** The first items of a list, fetching no more. */
export async function* take<T>(items: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let left = count;
  for await (const item of items) {
    yield item;
    left -= 1;
    if (left === 0) return;
  }
}
