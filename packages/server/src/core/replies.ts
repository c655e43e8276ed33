// Replies that several decisions give.
import type { Reply } from './commands.ts';
import type { RefusalReason } from './refusal.ts';

export const DONE: Reply = { type: 'Done' };

export function refuse(refused: RefusalReason, message: string): Reply {
  return { type: 'Refused', refusal: { refused, message } };
}
