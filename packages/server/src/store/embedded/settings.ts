// Owns the settings of the embedded server. Durability is never traded: fsync, full_page_writes and
// synchronous_commit stay on.

const settings: readonly (readonly [name: string, value: string])[] = [
  // No network: the socket lies in the cluster directory, relative to which the server runs, so that no path is too
  // long for it and no second instance meets it.
  ['listen_addresses', ''],
  ['unix_socket_directories', '.'],
  ['max_connections', '100'],

  ['fsync', 'on'],
  ['full_page_writes', 'on'],
  ['synchronous_commit', 'on'],
  ['commit_delay', '0'],
  ['max_wal_size', '4GB'],
  ['min_wal_size', '256MB'],
  ['checkpoint_timeout', '15min'],
  ['wal_buffers', '16MB'],

  ['shared_buffers', '192MB'],
  ['huge_pages', 'off'],
  ['work_mem', '8MB'],
  ['maintenance_work_mem', '64MB'],
  ['random_page_cost', '1.1'],
  ['jit', 'off'],
  // Short queries gain nothing from workers, whose shared memory is scarce in containers.
  ['max_parallel_workers_per_gather', '0'],

  // A queue makes a dead row of every job: clean often and without pauses that the churn outruns.
  ['autovacuum_naptime', '5s'],
  ['autovacuum_vacuum_scale_factor', '0.05'],
  ['autovacuum_vacuum_threshold', '500'],
  ['autovacuum_analyze_scale_factor', '0.05'],
  ['autovacuum_vacuum_cost_limit', '2000'],

  ['timezone', 'UTC'],
  ['log_timezone', 'UTC'],
  // Statements and details of rows can carry what callers sent.
  ['log_min_error_statement', 'panic'],
  ['log_error_verbosity', 'terse'],
  ['log_checkpoints', 'off'],
  ['log_line_prefix', '%m [%p] %a '],
];

/** The text of the server's configuration file; written at each start, so never edited by hand. */
export function renderSettings(): string {
  const lines = settings.map(([name, value]) => `${name} = '${value}'`);
  return ['# Written at each start of Conveyor: changes are lost.', ...lines, ''].join('\n');
}
