// Owns CRC32C (Castagnoli, RFC 3720 appendix B.4), reflected, eight bytes a step: table n holds the effect of a byte that
// lies n bytes before the end of the step.

const tableCount = 8;
const tables = makeTables();

/**
 * CRC32C of `bytes`, an unsigned 32-bit number. To go on where an earlier call ended, pass its result as `crc`:
 * `crc32c(b, crc32c(a))` is the CRC of a followed by b. Default: 0, the CRC of nothing.
 */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  let state = ~crc;
  let i = 0;
  for (const last = bytes.length - 8; i <= last; i += 8) {
    state ^= byte(bytes, i) | (byte(bytes, i + 1) << 8) | (byte(bytes, i + 2) << 16) | (byte(bytes, i + 3) << 24);
    state =
      effect(7, state & 255) ^
      effect(6, (state >>> 8) & 255) ^
      effect(5, (state >>> 16) & 255) ^
      effect(4, state >>> 24) ^
      effect(3, byte(bytes, i + 4)) ^
      effect(2, byte(bytes, i + 5)) ^
      effect(1, byte(bytes, i + 6)) ^
      effect(0, byte(bytes, i + 7));
  }
  for (; i < bytes.length; i++) state = effect(0, (state ^ byte(bytes, i)) & 255) ^ (state >>> 8);
  return ~state >>> 0;
}

function byte(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}

function effect(distance: number, value: number): number {
  return tables[distance * 256 + value] ?? 0;
}

function makeTables(): Int32Array {
  const reflectedPolynomial = 0x82f63b78;
  const made = new Int32Array(tableCount * 256);
  for (let value = 0; value < 256; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ reflectedPolynomial : crc >>> 1;
    made[value] = crc;
  }
  for (let at = 256; at < made.length; at++) {
    const nearer = made[at - 256] ?? 0;
    made[at] = (nearer >>> 8) ^ (made[nearer & 255] ?? 0);
  }
  return made;
}
