-- Deletion and retention. A deleted run loses its row at once and is unreadable from then on; everything else of it follows in
-- bounded passes, and a tombstone tells watchers that it left.

create table deleted_runs (
  run_id uuid primary key,
  project text not null,
  run jsonb not null,
  deleted_ms bigint not null,
  feed_xid xid8 not null,
  settled_xid xid8
);
create index deleted_runs_feed on deleted_runs (project, feed_xid);
create index deleted_runs_unsettled on deleted_runs (run_id) where settled_xid is null;
create index deleted_runs_by_age on deleted_runs (deleted_ms) where settled_xid is not null;
comment on column deleted_runs.run is 'The row of the run as it last was, without its params.';
comment on column deleted_runs.feed_xid is 'The transaction that deleted it.';
comment on column deleted_runs.settled_xid is 'Set once nothing else of the run is left: a cursor of the feed that ends later has seen it leave.';

alter table cluster
  add column feed_from xid8 not null default '0',
  add column logs_from_ms bigint not null default 0;
comment on column cluster.feed_from is 'Cursors of the feed that end here or before may lie before deletions that are forgotten.';
comment on column cluster.logs_from_ms is 'Log bytes that were written before are gone.';

create index runs_of_definition on runs (digest);
create index pipeline_revisions_of_definition on pipeline_revisions (digest);
create index request_ids_by_age on request_ids (created_ms);

-- Those that are there count as used now: replicas of the version before do not say when they use one.
alter table definitions add column seen_ms bigint not null default floor(extract(epoch from now()) * 1000);
alter table definitions alter column seen_ms set default floor(extract(epoch from clock_timestamp()) * 1000);
comment on column definitions.seen_ms is 'When a replica last made sure that it is here; one that relies on it does so again in time.';

alter table pipelines add column pruned boolean not null default false;
create index pipelines_unpruned on pipelines (project, name) where deleted_ms is not null and not pruned;
comment on column pipelines.pruned is 'Whether a deleted pipeline has lost its revisions.';
