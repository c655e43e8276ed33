// 6. A run's events are numbered from 1 without gap or repeat; a watcher sees exactly them; and whoever follows all runs never sees one
// go back, and sees every one's last event.
import type { Evidence } from './evidence.ts';

export function eventOrder(evidence: Evidence): string[] {
  return [...numbering(evidence), ...watchers(evidence), ...feeds(evidence), ...readers(evidence)];
}

function numbering({ rows }: Evidence): string[] {
  return [...rows.runs.values()].flatMap(({ run_id: runId, seq }) => {
    const events = rows.events.get(runId) ?? [];
    const wrong = events.findIndex((event, index) => event.seq !== index + 1);
    if (wrong !== -1) return [`event ${wrong + 1} of run ${runId} has seq ${events[wrong]?.seq}`];
    return events.length === seq ? [] : [`run ${runId} counts ${seq} events and has ${events.length}`];
  });
}

function watchers({ rows, history }: Evidence): string[] {
  const found: string[] = [];
  const seen = new Map<string, number>();
  for (const observation of history.observations) {
    if (observation.kind === 'broken') found.push(`${observation.watcher}: ${observation.why}`);
    if (observation.kind !== 'event') continue;
    const { watcher, runId, seq, type } = observation;
    const due = (seen.get(watcher) ?? 0) + 1;
    if (seq !== due) found.push(`${watcher} saw event ${seq} where ${due} was due`);
    seen.set(watcher, seq);
    const stored = rows.events.get(runId)?.[seq - 1]?.type;
    if (stored?.toLowerCase() !== type.toLowerCase())
      found.push(`${watcher} saw ${type} as event ${seq}, which is ${stored}`);
  }
  return found;
}

function feeds({ rows, history }: Evidence): string[] {
  const found: string[] = [];
  const views = new Map<string, Map<string, number>>();
  for (const observation of history.observations) {
    if (observation.kind !== 'run') continue;
    const { watcher, sight } = observation;
    const feed = views.get(watcher) ?? new Map<string, number>();
    views.set(watcher, feed);
    const before = feed.get(sight.runId) ?? 0;
    if (sight.seq < before) found.push(`${watcher} saw run ${sight.runId} at event ${sight.seq} after ${before}`);
    feed.set(sight.runId, Math.max(before, sight.seq));
  }
  for (const [watcher, feed] of views) {
    for (const { run_id: runId, seq } of rows.runs.values()) {
      const seen = feed.get(runId) ?? 0;
      if (seen !== seq) found.push(`${watcher} saw run ${runId} up to event ${seen} of ${seq}`);
    }
  }
  return found;
}

/** One client never reads a run as it was before what it read or was told before. */
function readers({ history }: Evidence): string[] {
  const found: string[] = [];
  const known = new Map<string, number>();
  for (const { client, asked, told } of history.operations) {
    if (told.kind !== 'done' || asked.call === 'batch') continue;
    for (const sight of told.runs) {
      if (sight === undefined) continue;
      const key = `${client} ${sight.runId}`;
      const before = known.get(key) ?? 0;
      if (sight.seq < before) found.push(`${client} read run ${sight.runId} at event ${sight.seq} after ${before}`);
      known.set(key, Math.max(before, sight.seq));
    }
  }
  return found;
}
