// Owns the ids of attempts that this process held and holds no more, so that whatever is repeated, none runs twice. The oldest of many
// are forgotten.

const maxRemembered = 10_000;

export class PastAttempts {
  readonly #ids = new Set<string>();

  has(attemptId: string): boolean {
    return this.#ids.has(attemptId);
  }

  add(attemptId: string): void {
    this.#ids.add(attemptId);
    if (this.#ids.size <= maxRemembered) return;
    const [oldest = ''] = this.#ids;
    this.#ids.delete(oldest);
  }
}
