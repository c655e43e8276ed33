// A socket that sends together what was written in one turn of the event loop, so that statements which do not wait for one another
// cost one system call, and wake PostgreSQL once.
import { Socket } from 'node:net';

export class GatheringSocket extends Socket {
  #gathers = false;

  /** Of the uncorkings of one turn the first is put off to the turn's end; until then the socket stays corked. */
  override uncork(): void {
    if (this.#gathers) return super.uncork();
    this.#gathers = true;
    process.nextTick(() => {
      this.#gathers = false;
      super.uncork();
    });
  }
}
