-- The ledger and its projection. Times are milliseconds since the Unix epoch by the database's clock; keys lead with the run's
-- globally unique id. Rows that change often have room for in-page updates, and no index on a column that changes.

create table definitions (
  digest bytea primary key check (octet_length(digest) = 32),
  body json not null,
  created_ms bigint not null
);
comment on table definitions is 'Definitions by the SHA-256 of their canonical JSON; never changed.';

create table pipelines (
  project text not null,
  name text not null,
  revision int not null check (revision >= 1),
  created_ms bigint not null,
  updated_ms bigint not null,
  deleted_ms bigint,
  primary key (project, name)
);

create table pipeline_revisions (
  project text not null,
  pipeline text not null,
  revision int not null check (revision >= 1),
  digest bytea not null references definitions,
  created_ms bigint not null,
  primary key (project, pipeline, revision)
);

create table runs (
  run_id uuid primary key,
  project text not null,
  pipeline text,
  revision int,
  digest bytea not null,
  state text not null check (state in ('PENDING', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  seq int not null check (seq >= 1),
  last_ms bigint not null,
  total int not null,
  open int not null check (open >= 0),
  succeeded int not null,
  failed int not null,
  failure_allowed int not null,
  skipped int not null,
  cancelled int not null,
  params json not null,
  labels jsonb not null,
  trigger json not null,
  cancel json,
  rerun_of uuid,
  traceparent text not null,
  created_ms bigint not null,
  started_ms bigint,
  finished_ms bigint,
  check ((pipeline is null) = (revision is null)),
  check (total = open + succeeded + failed + failure_allowed + skipped + cancelled),
  check ((finished_ms is not null) = (state in ('SUCCEEDED', 'FAILED', 'CANCELLED')))
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.1);
create index runs_by_project on runs (project, run_id);
create index runs_by_pipeline on runs (project, pipeline, run_id) where pipeline is not null;
create index runs_by_label on runs using gin (labels jsonb_path_ops) where labels <> '{}';

create table jobs (
  run_id uuid not null,
  job int not null check (job >= 0),
  project text not null,
  state text not null check (state in ('BLOCKED', 'WAITING', 'QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED')),
  attempt int not null check (attempt >= 0),
  unmet int not null check (unmet >= 0),
  bad_needs int not null check (bad_needs >= 0),
  spent json,
  ready_ms bigint,
  queued_ms bigint,
  started_ms bigint,
  finished_ms bigint,
  wait json,
  instance_no bigint,
  attempt_started_ms bigint,
  stop json,
  failure json,
  failure_allowed boolean not null default false,
  inherited_from text,
  inherited_outputs json,
  due_ms bigint,
  primary key (run_id, job),
  check ((instance_no is not null) = (state in ('OFFERED', 'RUNNING', 'CANCELLING'))),
  check ((wait is not null) = (state = 'WAITING')),
  check ((finished_ms is not null) = (state in ('SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED')))
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.1);
create index jobs_due on jobs (due_ms) where due_ms is not null;
comment on column jobs.due_ms is 'When time alone changes the job next; derived from its state and its definition.';

create table attempts (
  run_id uuid not null,
  job int not null,
  attempt int not null check (attempt >= 1),
  project text not null,
  instance_no bigint not null,
  state text not null check (state in ('OFFERED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'LOST', 'REJECTED', 'EXPIRED')),
  offered_ms bigint not null,
  started_ms bigint,
  finished_ms bigint,
  failure json,
  log_size bigint not null default 0,
  log_crc32c bigint not null default 0,
  log_state text not null default 'OPEN' check (log_state in ('OPEN', 'SEALED', 'TRUNCATED', 'CORRUPT')),
  outputs json,
  result text,
  checkpoint bytea,
  progress json,
  annotations json,
  primary key (run_id, job, attempt),
  check ((finished_ms is not null) = (state not in ('OFFERED', 'RUNNING'))),
  check ((finished_ms is not null) = (log_state <> 'OPEN'))
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.1);
create index attempts_live on attempts (instance_no) where finished_ms is null;
comment on column attempts.log_crc32c is 'CRC32C of the log_size bytes that are stored.';

create table events (
  run_id uuid not null,
  seq int not null check (seq >= 1),
  project text not null,
  time_ms bigint not null,
  version smallint not null,
  type text not null,
  run_state text not null,
  job int,
  job_state text,
  data json not null,
  feed_xid xid8,
  primary key (run_id, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.5);
create index events_feed on events (project, feed_xid) where feed_xid is not null;
comment on column events.feed_xid is 'Set on the last event of each transaction that changed what a list of runs shows.';

create table queue (
  run_id uuid not null,
  job int not null,
  project text not null,
  driver text not null,
  no bigint generated always as identity (cache 1),
  primary key (run_id, job)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index queue_order on queue (driver, no);
comment on table queue is 'One row for each QUEUED job; a row of another job is stale and is dropped when it is claimed.';

create table request_ids (
  project text not null,
  request_id text not null,
  body_digest bytea not null,
  run_id uuid not null,
  created_ms bigint not null,
  primary key (project, request_id)
);
