-- Concurrency groups: the jobs that wait for a place in one, and those that hold one. How many hold one is always counted from these
-- rows, which follow the jobs in the same transactions.

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

create table group_locks (
  no int primary key
);
comment on table group_locks is 'Each group has one of these rows, which is locked before its holders are counted; groups may share one.';
insert into group_locks select generate_series(0, 1023);
