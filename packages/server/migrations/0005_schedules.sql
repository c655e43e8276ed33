-- Schedules, and what became of their occurrences. Times are milliseconds since the Unix epoch by the database's clock.

create table schedules (
  schedule_id uuid primary key,
  project text not null,
  name text not null,
  spec json not null,
  definition json,
  paused_ms bigint,
  pause_reason text not null default '',
  cursor_ms bigint not null,
  due_ms bigint,
  held_ms bigint,
  unpruned int not null default 0,
  created_ms bigint not null,
  updated_ms bigint not null,
  unique (project, name)
) with (fillfactor = 70);
create index schedules_due on schedules (due_ms) where due_ms is not null;
comment on column schedules.definition is 'The inline definition of spec.run, which lists leave out.';
comment on column schedules.cursor_ms is 'Every time up to it was decided on.';
comment on column schedules.due_ms is 'When somebody has to look at it next.';
comment on column schedules.held_ms is 'Until when a replica creates the runs that it decided on; then another one does.';
comment on column schedules.unpruned is 'Occurrences that were added since old ones were dropped.';

create table occurrences (
  schedule_id uuid not null references schedules on delete cascade,
  at_ms bigint not null,
  project text not null,
  state text not null check (state in ('QUEUED', 'STARTING', 'STARTED', 'SKIPPED', 'FAILED')),
  origin text not null check (origin in ('TIME', 'TRIGGER', 'BACKFILL')),
  open boolean not null,
  round int not null default 0,
  tries int not null default 0,
  parallel int not null default 1 check (parallel >= 1),
  run_id uuid,
  skip text check (skip in ('OVERLAP', 'MISSED', 'SUPERSEDED', 'LIMIT')),
  failure json,
  asked_by uuid,
  decided_ms bigint not null,
  primary key (schedule_id, at_ms),
  check ((run_id is not null) = (state = 'STARTED')),
  check ((skip is not null) = (state = 'SKIPPED')),
  check ((failure is not null) = (state = 'FAILED')),
  check (open or state in ('STARTED', 'SKIPPED', 'FAILED')),
  check (not open or state in ('QUEUED', 'STARTING', 'STARTED'))
);
create index occurrences_open on occurrences (schedule_id) where open;
create index occurrences_by_age on occurrences (decided_ms) where not open;
comment on column occurrences.open is 'It waits, is being started, or its run was open when somebody looked last.';
comment on column occurrences.round is 'How often a backfill took it up again; part of the request id of its run.';
comment on column occurrences.asked_by is 'The request of a trigger or backfill that it came from.';

create table schedule_requests (
  schedule_id uuid not null references schedules on delete cascade,
  request_id text not null,
  body_digest bytea not null,
  asked_by uuid not null,
  queued int not null,
  created_ms bigint not null,
  primary key (schedule_id, request_id)
);
comment on table schedule_requests is 'Triggers and backfills by their request id, with what they were answered.';
