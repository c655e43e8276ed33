// What the engine tells of itself; a pino logger fits. Never payloads, tokens or secrets.
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
