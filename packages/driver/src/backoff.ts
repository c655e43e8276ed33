// Owns how long to wait before the next connect. Every address is tried once before the delay doubles.

const firstDelayMs = 100;
const maxDelayMs = 3_000;

/** The delay after `failures` failures in a row, from 1, over `addresses` addresses: drawn evenly from its upper half. */
export function reconnectDelayMs(failures: number, addresses: number): number {
  const rounds = Math.floor((failures - 1) / addresses);
  return Math.min(maxDelayMs, firstDelayMs * 2 ** rounds) * (0.5 + Math.random() / 2);
}
