-- Concurrency groups and rate limits. How many jobs hold a place of a group is always counted from the rows of its members, which follow
-- the jobs in the same transactions; tokens are taken in the transaction that queues the job.

create table group_members (
  run_id uuid not null,
  job int not null,
  project text not null,
  key text not null,
  state text not null check (state in ('WAITING', 'HOLDING', 'STOPPING')),
  ready_ms bigint not null,
  max_holders int not null check (max_holders >= 1),
  policy text not null check (policy in ('QUEUE', 'REPLACE_PENDING', 'CANCEL_RUNNING', 'REJECT')),
  primary key (run_id, job)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index group_waiters on group_members (project, key, ready_ms, run_id, job) where state = 'WAITING';
create index group_impatient on group_members (project, key, ready_ms, run_id, job) where state = 'WAITING' and policy <> 'QUEUE';
create index group_holders on group_members (project, key, ready_ms, run_id, job) where state <> 'WAITING';
comment on table group_members is 'One row for each open job that waits for a place in its concurrency group or holds one.';

create table rate_waiters (
  run_id uuid not null,
  job int not null,
  n int not null,
  project text not null,
  key text not null,
  ready_ms bigint not null,
  cost_ms double precision not null check (cost_ms > 0),
  period_ms bigint not null,
  told boolean not null,
  primary key (run_id, job, n)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index rate_line on rate_waiters (project, key, ready_ms, run_id, job);
comment on table rate_waiters is 'One row for each rate limit of each job that waits for tokens.';
comment on column rate_waiters.cost_ms is 'How long the tokens that it takes need to come.';
comment on column rate_waiters.told is 'Whether it is known until when it is likely to wait.';

create table rate_buckets (
  project text not null,
  key text not null,
  full_ms double precision not null,
  primary key (project, key)
) with (fillfactor = 70);
create index rate_buckets_full on rate_buckets (full_ms);
comment on table rate_buckets is 'When each bucket of tokens is full again; one that is full needs no row.';

create table start_locks (
  no int primary key
);
comment on table start_locks is 'Each group and each bucket has one of these rows, which is locked before it is looked at; several may share one.';
insert into start_locks select generate_series(0, 1023);
