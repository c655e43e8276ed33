// What a part of an expression comes to: a value, or why it has none. A failure is a value, since && and || may not need it.
import type { CelValue } from '@bufbuild/cel';

export class Failure {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

export type Outcome = CelValue | Failure;
