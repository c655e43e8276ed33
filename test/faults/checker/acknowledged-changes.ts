// 1. An acknowledged change never disappears: whatever a client or a driver was told is done can be found in the ledger.
import type { JournalEntry } from '../drivers/journal.ts';
import type { Operation } from '../load/history.ts';
import type { Evidence, Rows } from './evidence.ts';

export function acknowledgedChanges({ history, journal, rows }: Evidence): string[] {
  return [
    ...history.operations.flatMap((operation) => lostByClient(operation, rows)),
    ...journal.flatMap((entry) => lostByDriver(entry, rows)),
  ];
}

function lostByClient({ client, asked, told }: Operation, { runs, events }: Rows): string[] {
  if (told.kind !== 'done') return [];
  const lost: string[] = [];
  for (const sight of told.runs) {
    if (sight === undefined) continue;
    const row = runs.get(sight.runId);
    if (row === undefined) lost.push(`${client} was told of run ${sight.runId} by ${asked.call}, and it is gone`);
    else if (row.seq < sight.seq) {
      lost.push(`${client} was told of event ${sight.seq} of run ${sight.runId}, which has ${row.seq}`);
    }
  }
  switch (asked.call) {
    case 'create':
    case 'batch': {
      const items = asked.call === 'batch' ? asked.items : [asked];
      for (const [index, { requestId, body }] of items.entries()) {
        const row = runs.get(told.runs[index]?.runId ?? '');
        if (row === undefined || (row.labels['request'] === requestId && row.labels['body'] === body)) continue;
        lost.push(`${client} was given run ${row.run_id} for request ${requestId}, and that run is for another`);
      }
      break;
    }
    case 'cancel':
      for (const sight of told.runs) {
        const cancelled = events.get(sight?.runId ?? '')?.some(({ type }) => type === 'RunCancelRequested');
        if (cancelled !== true) lost.push(`the cancel of run ${asked.runId} was acknowledged, and its ledger has none`);
      }
      break;
    case 'rerun':
      for (const sight of told.runs) {
        const origin = runs.get(sight?.runId ?? '')?.rerun_of;
        if (origin !== asked.runId) lost.push(`the rerun ${sight?.runId} is of ${origin}, and not of ${asked.runId}`);
      }
      break;
    case 'get':
    case 'list':
      break;
  }
  return lost;
}

function lostByDriver(entry: JournalEntry, { attempts, events }: Rows): string[] {
  if (!('hear' in entry) || !('attempt' in entry)) return [];
  const row = attempts.get(entry.attempt);
  if (row === undefined) {
    return entry.hear === 'revoke' ? [] : [`${entry.attempt} was told by ${entry.hear}, and there is no such attempt`];
  }
  const has = (type: string): boolean =>
    events
      .get(row.run_id)
      ?.some((event) => event.type === type && event.job === row.job && event.data['attempt'] === row.attempt) === true;
  if (entry.hear === 'start' && !has('AttemptStarted'))
    return [`${entry.attempt} was started, and its ledger says nothing of it`];
  if (entry.hear === 'finishAck' && !(has('AttemptEnded') && row.has_result)) {
    return [`the result of ${entry.attempt} was acknowledged, and it has none`];
  }
  return [];
}
