// Owns the request to stop one piece of work. It only grows: from none to soft to kill, with the first reason.
// Most work is never stopped and never looks, so the controllers are made when someone asks for their signal.
import type { JobStopped } from './job-failure.ts';

export class StopRequest {
  #reason: JobStopped | undefined;
  #kill = false;
  #softController: AbortController | undefined;
  #killController: AbortController | undefined;

  /** Why it shall stop; undefined while it need not. */
  get reason(): JobStopped | undefined {
    return this.#reason;
  }

  /** Aborts when the work shall stop. */
  get soft(): AbortSignal {
    this.#softController ??= new AbortController();
    if (this.#reason !== undefined) this.#softController.abort(this.#reason);
    return this.#softController.signal;
  }

  /** Aborts when the work shall end at once. */
  get kill(): AbortSignal {
    this.#killController ??= new AbortController();
    if (this.#kill) this.#killController.abort(this.#reason);
    return this.#killController.signal;
  }

  request(reason: JobStopped, kill: boolean): void {
    this.#reason ??= reason;
    this.#softController?.abort(this.#reason);
    if (!kill) return;
    this.#kill = true;
    this.#killController?.abort(this.#reason);
  }
}
