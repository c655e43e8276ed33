// Owns what work has asked of the control plane, of one kind, and that has no answer yet: said again in each session until it is
// answered, given up when the work is to end at once.
import type { Attempt } from './attempt.ts';
import type { Frame } from './frames.ts';

export class Questions<Answer extends { readonly number: number }> {
  readonly #attempt: Attempt;
  readonly #kind: string;
  readonly #asked = new Map<number, Pick<PromiseWithResolvers<Answer>, 'resolve' | 'reject'>>();
  #listens = false;

  /** @param kind Tells the questions of an attempt from its other ones. */
  constructor(attempt: Attempt, kind: string) {
    this.#attempt = attempt;
    this.#kind = kind;
  }

  /** Says `frame` until it is answered. Rejects when the work is to end at once, or has ended. */
  ask(number: number, frame: Frame): Promise<Answer> {
    const { running, stop } = this.#attempt;
    if (!running || stop.kill.aborted) return Promise.reject(stop.reason ?? new Error('the work has ended'));
    if (!this.#listens) stop.kill.addEventListener('abort', () => this.giveUp(stop.reason));
    this.#listens = true;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#asked.set(number, { resolve, reject });
    this.#attempt.report(this.#name(number), frame, true);
    return promise;
  }

  /** The answer to what was asked has come. */
  hear(answer: Answer): void {
    this.#asked.get(answer.number)?.resolve(answer);
    this.#forget(answer.number);
  }

  /** Nothing that was asked will be answered. */
  giveUp(reason: unknown): void {
    for (const [number, { reject }] of this.#asked) {
      reject(reason);
      this.#forget(number);
    }
  }

  #forget(number: number): void {
    this.#asked.delete(number);
    this.#attempt.withdraw(this.#name(number));
  }

  #name(number: number): string {
    return `${this.#kind} ${number}`;
  }
}
