// Work that comes in slices, so that whoever asks for it may do other things in between.

export type Slices<T> = Generator<undefined, T>;

/** Does all of it at once. */
export function atOnce<T>(slices: Slices<T>): T {
  for (;;) {
    const { done, value } = slices.next();
    if (done === true) return value;
  }
}
