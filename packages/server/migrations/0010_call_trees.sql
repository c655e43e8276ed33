-- Calls that somebody has to see to are found without a look at those that wait, and the runs of a tree of calls are counted. No row is
-- rewritten. Rows of replicas of the version before are looked at once, and from time to time.

alter table calls
  add column root_run uuid,
  add column depth smallint not null default 1,
  add column stopping boolean not null default false,
  add column refused text,
  add column ended boolean not null default false,
  add column stirs int not null default 1,
  add column seen int not null default 0;
comment on column calls.root_run is 'The run that no call made and that led to it; null: its own.';
comment on column calls.depth is 'How many calls lead to the run that it makes.';
comment on column calls.stopping is 'Whether it is to end: from then on no run is made for it.';
comment on column calls.refused is 'Why no run is made for it, although nobody stops it.';
comment on column calls.ended is 'Whether its run has finished.';
comment on column calls.stirs is 'How often something happened to it; somebody has to see to it unless as often was seen.';

create index calls_to_start on calls (project, coalesce(root_run, run_id), run_id, job)
  where stirs <> seen and child_run is null and not stopping;
create index calls_to_stop on calls (project, coalesce(root_run, run_id), run_id, job)
  where stirs <> seen and child_run is not null and stopping and not ended;
create index calls_to_settle on calls (project, coalesce(root_run, run_id), run_id, job)
  where stirs <> seen and (ended or (child_run is null) = stopping);
alter table calls set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

create table call_trees (
  run_id uuid primary key,
  project text not null,
  runs int not null
) with (fillfactor = 50);
comment on table call_trees is 'How many runs the calls of a run, and the calls of these, have asked for.';
