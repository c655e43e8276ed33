-- Whose turn it is among queued jobs, which instances may take them, and which queues are paused. No row is rewritten.

-- Rows of replicas of the version before, and those that are queued now, are one flow, in the order in which they were queued.
alter table queue
  add column pipeline text not null default '',
  add column flow uuid not null default '00000000-0000-0000-0000-000000000001',
  add column placed boolean not null default false,
  add column priority smallint not null default 0 check (priority between -100 and 100),
  add column sticky_key text,
  add column rank bigint not null default 0;
alter table queue alter column rank set default floor(extract(epoch from clock_timestamp()) * 1000);
create index queue_turns on queue (driver, flow, rank, no);
drop index queue_order;
comment on column queue.flow is 'Jobs of one project and pipeline that the same instances may take.';
comment on column queue.placed is 'Whether not every instance of the driver may take it.';
comment on column queue.rank is 'When it was queued, 60,000 earlier for each level of its priority: so a job gains a level a minute.';

create table queue_pauses (
  driver text not null,
  project text not null,
  pipeline text not null,
  actor text not null,
  reason text not null,
  paused_ms bigint not null,
  primary key (driver, project, pipeline),
  check (project <> '' or pipeline = '')
);
comment on table queue_pauses is 'Whose queued jobs are not offered. An empty project or pipeline stands for all.';

alter table instances add column pools json not null default '{}';
comment on column instances.pools is 'Slots by the name of their pool.';
