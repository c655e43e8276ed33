// What a part of an expression comes to: a value, or why it has none. A failure is a value, since && and || may not need it. What is not
// known is none: an operand that is needed and cannot be known ends the whole evaluation.
import type { CelValue } from '@bufbuild/cel';

export class Failure {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** What cannot be told without the outputs of a job that nobody knows: those of this one. */
export class Unknown extends Failure {
  readonly of: string;

  constructor(of: string) {
    super(`the outputs of ${of} are not known`);
    this.of = of;
  }
}

/** Thrown by inputs that are not known when they are read: the evaluation ends there. It never leaves this room. */
export class UnknownRead extends Error {
  readonly of: string;

  constructor(of: string) {
    super(`reads the outputs of ${of}`);
    this.of = of;
  }
}

export type Outcome = CelValue | Failure;
