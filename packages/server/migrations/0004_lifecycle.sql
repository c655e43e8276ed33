-- Who holds runs and jobs back, when attempts were heard of, and which events each replica understands. No row is rewritten.

alter table runs add column pause json;
alter table jobs add column hold json, add column heard_ms bigint;
alter table attempts add column heard_ms bigint;
comment on column attempts.heard_ms is 'When something of it was last stored; what of that has moved its silence timeout is on its job.';

alter table replicas add column event_version int not null default 1;
comment on column replicas.event_version is 'The newest version of events that its build knows.';
