// Owns the processes that a measurement runs beside the server: each is a file of this directory, gets its settings as JSON,
// says when it is ready and then answers questions. It ends when it is disposed, and when whoever started it ends.
import { fork } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface Child<Question extends object, Answer> extends AsyncDisposable {
  readonly pid: number;
  /** Rejects when the child ends instead. One question at a time. */
  ask(question: Question): Promise<Answer>;
}

/** A child that does not end by itself in this time is killed. */
const endWithinMs = 10_000;

/** Starts `file`, which must call `answer`, and returns once it is ready. */
export async function startChild<Question extends object, Answer>(
  file: string,
  settings: object,
  execArgv: readonly string[] = [],
): Promise<Child<Question, Answer>> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = fork(path, [JSON.stringify(settings)], { execArgv: ['--conditions=source', ...execArgv] });
  const messages = on(child, 'message', { close: ['exit'] });
  const exited = once(child, 'exit');
  const next = async (): Promise<Answer> => {
    const { value } = (await messages.next()) as IteratorResult<[Answer], undefined>;
    if (value === undefined) throw new Error(`${file} ended`);
    return value[0];
  };
  await next();
  return {
    pid: child.pid ?? 0,
    async ask(question) {
      child.send(question);
      return await next();
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), endWithinMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** The settings of this process, as whoever started it gave them. */
export function childSettings<Settings>(): Settings {
  return JSON.parse(process.argv[2] ?? '{}') as Settings;
}

/** Says that this process is ready, and answers from now on. What `respond` throws ends the process. */
export function answer<Question, Answer extends object>(
  respond: (question: Question) => Answer | Promise<Answer>,
): void {
  process.once('disconnect', () => process.exit());
  process.on('message', (question) => {
    void Promise.resolve(respond(question as Question)).then((answered) => process.send?.(answered));
  });
  process.send?.({});
}
