// Writes protobuf's wire format by hand, into memory that is used again and again. For the few messages of which there are so many
// that the generic encoder would be what the server does most.
import type { JsonObject, JsonValue } from '../../core/json.ts';

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const MAX_VARINT = 8;
const MAX_UTF8 = 3;

export class WireWriter {
  #buffer = Buffer.allocUnsafe(4_096);
  #at = 0;

  /** The message written so far; the next one begins. */
  take(): Uint8Array {
    const message = Buffer.from(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
    return message;
  }

  /** An integer of any type, an enum or a boolean: 0 or more; 0 is left out. */
  integer(field: number, value: number): void {
    if (value === 0) return;
    this.#reserve(2 * MAX_VARINT);
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  /** A string; an empty one is left out. */
  text(field: number, text: string): void {
    if (text !== '') this.#text(field, text);
  }

  /** A message: what is written between begin and end. Also an empty one is there. */
  begin(field: number): number {
    this.#reserve(2 * MAX_VARINT);
    this.#tag(field, BYTES);
    // Most messages have less than 128 bytes, and so a length of one byte; end() makes room for more.
    return this.#at++;
  }

  /** @param mark What begin returned. */
  end(mark: number): void {
    const length = this.#at - mark - 1;
    const extra = length < 2 ** 7 ? 0 : length < 2 ** 14 ? 1 : length < 2 ** 21 ? 2 : 3;
    this.#reserve(extra);
    if (extra > 0) this.#buffer.copyWithin(mark + 1 + extra, mark + 1, this.#at);
    const end = this.#at + extra;
    this.#at = mark;
    this.#varint(length);
    this.#at = end;
  }

  /** A google.protobuf.Duration. */
  duration(field: number, ms: number): void {
    const mark = this.begin(field);
    const seconds = Math.floor(ms / 1_000);
    this.integer(1, seconds);
    this.integer(2, (ms - seconds * 1_000) * 1_000_000);
    this.end(mark);
  }

  /** A google.protobuf.Struct. */
  struct(field: number, object: JsonObject): void {
    const mark = this.begin(field);
    for (const [key, value] of Object.entries(object)) {
      const entry = this.begin(1);
      this.#text(1, key);
      this.value(2, value);
      this.end(entry);
    }
    this.end(mark);
  }

  /** A google.protobuf.Value. */
  value(field: number, value: JsonValue): void {
    const mark = this.begin(field);
    if (value === null) this.#flag(1, 0);
    else if (typeof value === 'number') this.#double(2, value);
    else if (typeof value === 'string') this.#text(3, value);
    else if (typeof value === 'boolean') this.#flag(4, Number(value));
    else if (Array.isArray(value)) {
      const list = this.begin(6);
      for (const item of value) this.value(1, item);
      this.end(list);
    } else this.struct(5, value);
    this.end(mark);
  }

  /** Within a oneof, zero is a value like any other. */
  #flag(field: number, value: number): void {
    this.#reserve(2 * MAX_VARINT);
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  #text(field: number, text: string): void {
    const mark = this.begin(field);
    this.#reserve(text.length * MAX_UTF8);
    this.#at += this.#buffer.write(text, this.#at, 'utf8');
    this.end(mark);
  }

  #double(field: number, value: number): void {
    this.#reserve(2 * MAX_VARINT);
    this.#tag(field, FIXED64);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  #tag(field: number, type: number): void {
    this.#varint(field * 8 + type);
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) this.#buffer[this.#at++] = (rest % 0x80) | 0x80;
    this.#buffer[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
