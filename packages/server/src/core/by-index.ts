// What is known of the jobs of a run, by their index. A copy shares all that neither of the two changes, so that a decision on a job or two
// of a run, of which thousands are loaded, costs as much as it does on a small one.

/** Indexes of one page. */
const PAGE_BITS = 7;
const IN_PAGE = (1 << PAGE_BITS) - 1;

/** A map that can be changed. */
export interface MutableByIndex<V> extends ReadonlyMap<number, V> {
  set(index: number, value: V): unknown;
}

/** In the order of the indexes, whichever was set first. */
export class ByIndex<V> implements MutableByIndex<V> {
  readonly #pages: (V | undefined)[][];
  /** Pages that no other has. */
  #own: boolean[] = [];
  #size: number;

  private constructor(pages: (V | undefined)[][], size: number) {
    this.#pages = pages;
    this.#size = size;
  }

  /** A copy; neither sees what becomes of the other. */
  static from<V>(values: ReadonlyMap<number, V>): ByIndex<V> {
    if (values instanceof ByIndex) return (values as ByIndex<V>).#copy();
    const fresh = new ByIndex<V>([], 0);
    for (const [index, value] of values) fresh.set(index, value);
    return fresh;
  }

  #copy(): ByIndex<V> {
    this.#own = [];
    return new ByIndex(this.#pages.slice(), this.#size);
  }

  get size(): number {
    return this.#size;
  }

  get(index: number): V | undefined {
    return this.#pages[index >> PAGE_BITS]?.[index & IN_PAGE];
  }

  has(index: number): boolean {
    return this.get(index) !== undefined;
  }

  set(index: number, value: V): void {
    const page = this.#ownPage(index >> PAGE_BITS);
    if (page[index & IN_PAGE] === undefined) this.#size++;
    page[index & IN_PAGE] = value;
  }

  #ownPage(number: number): (V | undefined)[] {
    const page = this.#pages[number];
    if (page !== undefined && this.#own[number] === true) return page;
    const own = page?.slice() ?? [];
    this.#pages[number] = own;
    this.#own[number] = true;
    return own;
  }

  *entries(): MapIterator<[number, V]> {
    for (let number = 0; number < this.#pages.length; number++) {
      // Neither a page nor what is in it need be there.
      const page = this.#pages[number] ?? [];
      for (let offset = 0; offset < page.length; offset++) {
        const value = page[offset];
        if (value !== undefined) yield [(number << PAGE_BITS) | offset, value];
      }
    }
  }

  *keys(): MapIterator<number> {
    for (const [index] of this.entries()) yield index;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[number, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, index: number, map: ReadonlyMap<number, V>) => void): void {
    for (const [index, value] of this.entries()) callback(value, index, this);
  }
}
