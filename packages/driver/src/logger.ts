// Owns the shape of a logger: that of pino and its like, so that theirs can be passed as it is.

/** Where the runtime tells what it does. Never given payloads, tokens or secrets. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Tells nobody. */
export const silentLogger: Logger = { info: () => {}, warn: () => {} };
