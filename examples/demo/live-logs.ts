// Owns what the terminal shows while a run goes on: what happens to its jobs and what they write, line by line behind their names.
import { type Client, type Event, JobState } from '@conveyor/client';

/** Where lines go. */
export interface Screen {
  /** The name of a job, as it stands before its lines. */
  label(job: string): string;
  line(text: string): void;
}

/** Shows a run until it has finished and every log was shown to its end. Throws the signal's reason on abort. */
export async function showRun(client: Client, runId: string, screen: Screen, signal: AbortSignal): Promise<void> {
  const instances = new Map<string, string>();
  const logs = new Map<string, Promise<void>>();
  for await (const event of client.runs.watch(runId, { signal })) {
    const { kind, job, attempt } = event;
    const say = (text: string): void => screen.line(`${screen.label(job)} * ${text}`);
    if (kind.case === 'attemptOffered') instances.set(job, kind.value.driverInstance);
    if (kind.case === 'attemptStarted') {
      say(`attempt ${attempt} runs on ${instances.get(job)}`);
      logs.set(job, showLog(client, event, screen, signal));
    }
    if (kind.case === 'jobFinished') {
      const because = kind.value.failure === undefined ? '' : `: ${kind.value.failure.message}`;
      const text = `${JobState[event.jobState].toLowerCase()}${because}`;
      // Told once its log was shown.
      logs.set(
        job,
        (logs.get(job) ?? Promise.resolve()).then(() => say(text)),
      );
    }
  }
  await Promise.all(logs.values());
  signal.throwIfAborted();
}

/** Never rejects: that a log cannot be shown is no reason to stop watching. */
async function showLog(
  { jobs }: Client,
  { job, jobId, attempt }: Event,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  const show = (text: string): void => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) screen.line(`${screen.label(job)} | ${line}`);
  };
  try {
    for await (const { chunks } of jobs.tailLog(jobId, { attempt }, { signal })) {
      for (const { data } of chunks) show(decoder.decode(data, { stream: true }));
    }
    if (rest !== '') show('\n');
  } catch (error) {
    if (!signal.aborted) screen.line(`${screen.label(job)} * its log cannot be shown: ${String(error)}`);
  }
}
