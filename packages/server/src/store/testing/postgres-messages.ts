// Reads PostgreSQL's wire protocol (version 3) as far as a proxy needs it: where messages end, and what a few of them say.

const STARTUP_VERSION = 196_608;
const QUERY = 'Q';
const PARSE = 'P';
const COMMAND_COMPLETE = 'C';
const NOTIFICATION = 'A';

/** Cuts a stream into whole messages; what is incomplete waits for its rest. */
export function createSplitter(from: 'client' | 'server'): (chunk: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  // The first message of a client has no letter before its length.
  let lettered = from === 'server';
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const messages: Buffer[] = [];
    for (;;) {
      const start = lettered ? 1 : 0;
      if (rest.length < start + 4) return messages;
      const end = start + rest.readUInt32BE(start);
      if (rest.length < end) return messages;
      messages.push(rest.subarray(0, end));
      rest = rest.subarray(end);
      lettered = true;
    }
  };
}

/** The name that a client gives itself when it connects; undefined of any other message. */
export function applicationName(message: Buffer): string | undefined {
  if (message.length < 8 || message.readUInt32BE(4) !== STARTUP_VERSION) return undefined;
  const words = message.toString('utf8', 8).split('\0');
  const at = words.indexOf('application_name');
  return at === -1 ? undefined : words[at + 1];
}

/** Whether a client asks to commit, as a text or by preparing one. */
export function isCommit(message: Buffer): boolean {
  const letter = letterOf(message);
  if (letter !== QUERY && letter !== PARSE) return false;
  const words = message.toString('utf8', 5).split('\0');
  return words[letter === QUERY ? 0 : 1]?.toLowerCase() === 'commit';
}

/** What a server says that a command has done; undefined of any other message. */
export function completedCommand(message: Buffer): string | undefined {
  return letterOf(message) === COMMAND_COMPLETE ? message.toString('utf8', 5, message.length - 1) : undefined;
}

/** Whether a server passes on a NOTIFY. */
export function isNotice(message: Buffer): boolean {
  return letterOf(message) === NOTIFICATION;
}

function letterOf(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0);
}
