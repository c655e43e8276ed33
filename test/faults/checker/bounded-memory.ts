// 12. No queue, buffer or map of a server grows without bound: its memory stays near what it was when the server had started.
import type { Evidence } from './evidence.ts';

/** What garbage and the pages of a burst may add. */
const GROWTH_BYTES = 400 * 2 ** 20;

export function boundedMemory({ memory }: Evidence): string[] {
  return memory
    .filter(({ firstBytes, mostBytes }) => mostBytes - firstBytes > GROWTH_BYTES)
    .map(
      ({ server, firstBytes, mostBytes }) =>
        `${server} grew from ${Math.round(firstBytes / 2 ** 20)} to ${Math.round(mostBytes / 2 ** 20)} MiB`,
    );
}
