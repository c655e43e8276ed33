// What waits, in a line for each owner. Owners are served in turns, and of each first what came first.

export interface OwnerLines<T> {
  add(item: T): void;
  /** Takes so many at most, in the order in which they are served. */
  take(max: number): readonly T[];
  /**
   * Puts back what was taken, in that order: it goes on before all that came meanwhile. Whoever is found to have another owner by now goes
   * into the line of that one.
   */
  putBack(items: readonly T[]): void;
  /** Takes out of each line what stands before the first one that may stay. */
  cut(mayStay: (item: T) => boolean): readonly T[];
  /** Takes one out that stands anywhere. */
  remove(item: T): void;
  /** How many wait, of all or of one owner. */
  size(owner?: string): number;
}

export function createOwnerLines<T>(ownerOf: (item: T) => string): OwnerLines<T> {
  /** The first one is that of the owner whose turn it is. */
  let lines = new Map<string, T[]>();
  let size = 0;

  function takeOf(owner: string, line: T[], count: number): readonly T[] {
    const taken = line.splice(0, count);
    lines.delete(owner);
    if (line.length > 0) lines.set(owner, line);
    size -= taken.length;
    return taken;
  }

  return {
    add(item) {
      const owner = ownerOf(item);
      const line = lines.get(owner);
      if (line === undefined) lines.set(owner, [item]);
      else line.push(item);
      size++;
    },
    take(max) {
      const [only] = lines;
      if (lines.size === 1 && only !== undefined) return takeOf(...only, max);
      const taken: T[] = [];
      // Goes on with those that were put behind the others meanwhile.
      for (const [owner, line] of lines) {
        if (taken.length === max) break;
        taken.push(...takeOf(owner, line, 1));
      }
      return taken;
    },
    putBack(items) {
      if (items.length === 0) return;
      lines = Map.groupBy([...items, ...[...lines.values()].flat()], ownerOf);
      size += items.length;
    },
    cut(mayStay) {
      return [...lines].flatMap(([owner, line]) => {
        const first = line.findIndex(mayStay);
        return takeOf(owner, line, first === -1 ? line.length : first);
      });
    },
    remove(item) {
      const owner = ownerOf(item);
      const line = lines.get(owner) ?? [];
      const at = line.indexOf(item);
      if (at === -1) return;
      line.splice(at, 1);
      size--;
      if (line.length === 0) lines.delete(owner);
    },
    size: (owner) => (owner === undefined ? size : (lines.get(owner)?.length ?? 0)),
  };
}

/** Puts items in the order in which they are served. */
export function inTurnsOf<T>(items: readonly T[], ownerOf: (item: T) => string): readonly T[] {
  const lines = createOwnerLines(ownerOf);
  lines.putBack(items);
  return lines.take(items.length);
}
