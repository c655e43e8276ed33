// Every bound of the control plane, in one place. What could not be sent to a driver is refused when it is created.

export const LIMITS = {
  /** Largest message taken, in bytes. */
  requestBytes: 1_048_576,
  /** Frames in one message of a driver, and jobs that they append. */
  messageFrames: 20_000,
  /** Largest message sent, in bytes. */
  responseBytes: 3_145_728,
  /** Largest page of a list, in bytes as JSON, roughly. A number takes 11 bytes of a message where it takes 2 of JSON. */
  pageBytes: 524_288,
  /**
   * Lists and objects inside of each other, in JSON that comes in or is worked out. Decoders of many languages stop at 100 messages
   * inside of each other, and an object takes three: so every message that carries a value has 15 to spare.
   */
  jsonLevels: 25,
  /** Messages inside of each other in one that comes in: more than jsonLevels needs, so that what is too deep is refused by its field. */
  messageLevels: 300,
  jobsPerRun: 10_000,
  needsPerJob: 1_000,
  /** Needs of all jobs of a run, with those that stages and FINALLY stand for: each end of a job changes all that need it. */
  needsPerRun: 250_000,
  secretsPerJob: 64,
  /** Characters of the conditions, and of the texts with expressions, of one definition: a thousand take up to 7 ms to check. */
  expressionCharacters: 131_072,
  /** As expressionCharacters, of all definitions of one request. */
  requestExpressionCharacters: 262_144,
  /** States of the different patterns in the expressions of one request: a thousand take some milliseconds, up to 20. */
  requestPatternStates: 50_000,
  /** What a schema that is compiled may count, as schemaWork has it, and all schemas of a request: 2,500 take about 100 ms. */
  schemaWork: 2_500,
  requestSchemaWork: 25_000,
  stages: 100,
  envValues: 64,
  envBytes: 4_096,
  /** Jobs of one definition that have a matrix. */
  matrices: 100,
  /** How often jobs may be appended to one run. */
  appends: 100,
  matrixAxes: 16,
  matrixCells: 1_000,
  /** Combinations of the axes of a matrix, before any is excluded. */
  matrixCombinations: 10_000,
  /** Of each combination with each entry of include and exclude. */
  matrixComparisons: 1_000_000,
  /** Values of all cells of a matrix, as JSON. */
  matrixBytes: 262_144,
  /** Values of all cells of a run, as JSON: they become part of its definition. */
  cellsBytes: 2_097_152,
  /** Outputs of all cells of a matrix, and of all jobs of the run of a call, as JSON. */
  gatheredOutputBytes: 393_216,
  /** Calls of calls. */
  callDepth: 10,
  /** Runs that the calls of one run, the calls of these and so on make together. */
  callTreeRuns: 2_000,
  gateApprovers: 100,
  gateQuorum: 100,
  /** Answers of all who answer a gate, as JSON: they are kept with the job, and become its outputs. */
  gateAnswersBytes: 131_072,
  definitionBytes: 1_048_576,
  specBytes: 65_536,
  schemaBytes: 65_536,
  paramsBytes: 65_536,
  /** Different schemas of outputs in one definition: each takes time to compile. */
  outputsSchemas: 500,
  /** All outputs of one attempt, as JSON. */
  outputBytes: 65_536,
  /** Values of one run: keys, one value as JSON, and all keys and values. */
  valueKeys: 1_000,
  valueBytes: 65_536,
  valuesBytes: 1_048_576,
  /** Outputs of all needs of one job, as JSON: what Start can carry. */
  needsOutputBytes: 2_097_152,
  checkpointBytes: 4_096,
  messageBytes: 4_096,
  labels: 64,
  /** Rules of a selector, required and preferred each, and values of one. */
  labelRules: 32,
  labelRuleValues: 64,
  /** Pools of slots of one instance. */
  pools: 32,
  queuePauses: 1_000,
  /** Jobs are from minus this to this. */
  maxPriority: 100,
  batchItems: 1_000,
  /** Characters of the key of a concurrency group or a rate limit. */
  sharedKeyLength: 256,
  /** Jobs of a concurrency group at a time. */
  groupLimit: 10_000,
  /** Of one job. */
  rateLimits: 8,
  rateTokens: 1_000_000,
  /** How far ahead a run may be told to start: 365 days. */
  delayMs: 31_536_000_000,
  schedules: 10_000,
  cronExpressions: 10,
  /** Missed occurrences that a schedule runs, and those that it records, at most. */
  catchUp: 100,
  /** Runs of one schedule that are open. */
  openOccurrences: 1_000,
  /** Occurrences of one backfill, and of one schedule that wait. */
  queuedOccurrences: 1_000,
  /** Of one expression: characters, levels of brackets and of operators, and operators, calls, fields and literals. */
  expressionLength: 1_024,
  expressionDepth: 32,
  expressionNodes: 512,
  /** Characters of a pattern with its repetitions written out. */
  expressionPattern: 2_000,
  /** What the evaluation of one expression, and of all expressions of one template, may cost: 100 ms at most. */
  expressionSteps: 300_000,
  /** What a decision may cost before it lets others have the thread, give or take one evaluation: about 2.5 ms. */
  sliceSteps: 10_000,
  /** What the evaluations of one decision may cost together, give or take one: up to 3 s, in which its run is locked, and others go on. */
  decisionSteps: 10_000_000,
  /** What one decision may work out, specs and traces, as JSON and give or take one job: it is written in a few statements. */
  decisionBytes: 16_777_216,
  /** What the trace of an evaluation, or of all failures of one template, may cost beyond that: parts that were not needed, and values as JSON. */
  expressionTraceSteps: 50_000,
  expressionParts: 64,
  /** Largest value of a part in a trace, as JSON. */
  expressionPartBytes: 1_024,
  /** Expressions of one job that failed and are kept with it, and their bytes as JSON: parts, and failures, beyond are left out. */
  expressionFailures: 10,
  expressionFailureBytes: 65_536,
  /** Characters that are kept of the path at which one stands. */
  expressionFieldLength: 256,
  templateExpressions: 100,
  /** Unless the control plane is started with another one. */
  logBytes: 1_073_741_824,
  logFrameBytes: 524_288,
  /** Unacknowledged log bytes of one attempt, and of one session. */
  attemptLogWindow: 1_048_576,
  sessionLogWindow: 8_388_608,
  /** What one driver said and that has no answer yet, in memory; beyond, its session ends. */
  sessionPendingBytes: 33_554_432,
  /** What drivers said of running attempts and that waits for a flush, of all sessions; beyond, sessions end. */
  pendingLogBytes: 268_435_456,
  annotations: 100,
  /** Of one attempt, and how many of them are shown with it. */
  artifacts: 1_000,
  shownArtifacts: 100,
  sections: 1_000,
  slots: 10_000,
  heldAttempts: 10_000,
  sessions: 20_000,
  /** Open watches and tails of this replica, each of which may hold 256 KiB for a reader that does not read. */
  streams: 5_000,
  /** Commands that wait for a flush, over all lanes; more are refused. */
  pendingCommands: 100_000,
  /** Definitions, params and labels of new runs that wait for a flush, as JSON, roughly; more are refused. */
  pendingCreateBytes: 134_217_728,
  /** Reads and small changes that wait for a connection; more are refused. */
  pendingQueries: 10_000,
} as const;

/** What replicas and drivers agree on about leases. */
export interface Timing {
  /** How long a session's lease lasts from a committed renewal. */
  readonly leaseMs: number;
  /** How often a driver renews it. */
  readonly heartbeatMs: number;
}

/** When no replica has been seen for so long, the database, or every replica, was away: leases that ran out meanwhile say nothing. */
export const OUTAGE_MS = 5_000;

export const DEFAULT_TIMING: Timing = { leaseMs: 30_000, heartbeatMs: 5_000 };
