// The name that somebody probably meant: the nearest one by edits, if it is near enough to be a slip of the fingers.

const MAX_LENGTH = 100;
/** Looking among more would take milliseconds, for a hint. */
const MAX_NAMES = 10_000;

/** The nearest of `names`, at most two edits away and fewer than half of its length; undefined when none is. */
export function nearestName(wrong: string, names: Iterable<string>): string | undefined {
  if (wrong.length > MAX_LENGTH) return undefined;
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.ceil(wrong.length / 2));
  let looked = 0;
  for (const name of names) {
    if (++looked > MAX_NAMES || bestDistance === 1) break;
    if (Math.abs(name.length - wrong.length) >= bestDistance) continue;
    const distance = editDistance(wrong, name, bestDistance - 1);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

/** How many edits make one into the other; Infinity when more than `max`. */
function editDistance(a: string, b: string, max: number): number {
  for (let edits = 0; edits <= max; edits++) if (isWithin(edits, a, 0, b, 0)) return edits;
  return Infinity;
}

/**
 * Whether so many edits make the rest of one into the rest of the other: an insertion, a deletion, a replacement or a swap of
 * neighbours is one. Few edits have few places, those where the two part, so nothing else is looked at.
 */
function isWithin(edits: number, a: string, fromA: number, b: string, fromB: number): boolean {
  let atA = fromA;
  let atB = fromB;
  while (atA < a.length && atB < b.length && a[atA] === b[atB]) {
    atA++;
    atB++;
  }
  const leftA = a.length - atA;
  const leftB = b.length - atB;
  if (leftA === 0 || leftB === 0) return leftA + leftB <= edits;
  if (edits === 0 || Math.abs(leftA - leftB) > edits) return false;
  if (isWithin(edits - 1, a, atA + 1, b, atB + 1)) return true;
  if (isWithin(edits - 1, a, atA + 1, b, atB)) return true;
  if (isWithin(edits - 1, a, atA, b, atB + 1)) return true;
  const isSwap = a[atA] === b[atB + 1] && a[atA + 1] === b[atB];
  return isSwap && isWithin(edits - 1, a, atA + 2, b, atB + 2);
}
